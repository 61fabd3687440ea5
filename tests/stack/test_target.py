import pytest

from tests.stack.target import given_kubeconfig


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
