import os
from pathlib import Path

import pytest

from tests.demo import kind
from tests.stack.target import IMAGE_VARIABLES, find_target

BUILT = {
    "operator": "--file Dockerfile .",
    "trainer": "--file trainer_image/Dockerfile --build-arg TORCH=cpu .",
    "hub": "--file tests/hub/Dockerfile --build-arg BASE_IMAGE=localhost/finetune-operator:demo .",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with programs that note what is asked of them, and an environment that is put back."""
    monkeypatch.setattr(kind, "KUBECONFIG", tmp_path / "build" / "kubeconfig")
    for name in ("KUBECONFIG", "KIND_EXPERIMENTAL_PROVIDER", *IMAGE_VARIABLES.values()):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("kind", "kubectl", "helm", "docker", "podman"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n')
        (tmp_path / name).chmod(0o755)
    return tmp_path


def calls(programs: Path) -> list[str]:
    return (programs / "calls").read_text().replace(str(programs), "TMP").splitlines()


def test_a_cluster_is_made_once_gets_the_images_and_is_named_as_any_other(programs: Path) -> None:
    kind.up()

    target = find_target()
    assert calls(programs) == [
        "kind get clusters",
        "kind create cluster --name finetune-demo --kubeconfig TMP/build/kubeconfig --wait 3m",
        *(f"docker build --tag {kind.IMAGES[name]} {arguments}" for name, arguments in BUILT.items()),
        f"kind load docker-image --name finetune-demo {' '.join(kind.IMAGES.values())}",
    ]
    assert (target.kubectl.kubeconfig, target.images) == (str(kind.KUBECONFIG), kind.IMAGES)
    assert os.environ["KIND_EXPERIMENTAL_PROVIDER"] == ""


def test_a_cluster_that_is_there_is_used_again_and_says_anew_how_it_is_reached(programs: Path) -> None:
    (programs / "kind").write_text(f'#!/bin/sh\necho "kind $*" >> {programs}/calls\necho finetune-demo\n')

    kind.up()

    assert calls(programs)[:2] == [
        "kind get clusters",
        "kind export kubeconfig --name finetune-demo --kubeconfig TMP/build/kubeconfig",
    ]
    assert [call for call in calls(programs) if "create" in call] == []
    assert kind.KUBECONFIG.parent.is_dir()


def test_podman_is_told_to_kind_and_hands_the_images_over_in_an_archive(programs: Path) -> None:
    (programs / "docker").unlink()

    kind.up()

    saved, loaded = calls(programs)[-2:]
    assert saved.startswith("podman save --multi-image-archive --output ")
    assert loaded.startswith("kind load image-archive --name finetune-demo ")
    assert saved.split()[4] == loaded.split()[-1]
    assert os.environ["KIND_EXPERIMENTAL_PROVIDER"] == "podman"


def test_all_programs_that_are_missing_are_named_at_once(programs: Path) -> None:
    for name in ("kind", "helm", "docker", "podman"):
        (programs / name).unlink()

    with pytest.raises(SystemExit) as refusal:
        kind.up()

    assert str(refusal.value) == (
        "kind, helm, docker or podman: not found on PATH, but the demo on kind needs it; install it"
    )
