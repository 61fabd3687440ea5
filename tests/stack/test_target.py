from pathlib import Path

import pytest

from tests.stack.stand_ins import StandIns
from tests.stack.target import find_target, given_kubeconfig


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", ""), ("/etc/config", "/etc/config"), ("~/.kube/config:/etc/config", "/home/ada/.kube/config:/etc/config")],
)
def test_a_tilde_in_kubeconfig_means_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("KUBECONFIG", given)

    assert given_kubeconfig() == expected


def test_what_a_given_cluster_still_needs_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", "/etc/config")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TRAINER_IMAGE", "registry.example/trainer:1")
    for variable in ("OPERATOR_IMAGE", "HUB_IMAGE"):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(SystemExit) as refusal:
        find_target()

    assert str(refusal.value) == (
        "KUBECONFIG=/etc/config is used: install kubectl and helm, and set OPERATOR_IMAGE, HUB_IMAGE to images that "
        "your cluster can pull (docs/images.md says how to build them)"
    )


@pytest.mark.parametrize(
    ("allocatable", "expected"), [("", False), ("0", False), ("0 0", False), ("0 8", True), ("1k", True)]
)
def test_a_cluster_has_accelerators_if_a_node_offers_more_than_none(
    tmp_path: Path, allocatable: str, expected: bool
) -> None:
    assert StandIns(tmp_path, has={"nodes": allocatable}).given.has_accelerators is expected
