"""A kubectl and a Helm that note what is asked of them: for what is done on a cluster that is somebody's."""

from pathlib import Path

from tests.stack.kubectl import Kubectl
from tests.stack.target import Target

KUBECTL = """\
#!/bin/sh
cd "{folder}"
echo "kubectl $*" >> calls
case "$1" in
get) if test -e "$2"; then cat "$2"; fi ;;
apply) (echo ---; cat) >> applied ;;
esac
"""
HELM = """\
#!/bin/sh
echo "helm $*" >> "{folder}/calls"
"""


class StandIns:
    """The two programs in a folder; `has` says what the cluster answers to `kubectl get KIND`."""

    def __init__(self, folder: Path, *, has: dict[str, str]) -> None:
        self._folder = folder
        for name, text in (("kubectl", KUBECTL), ("helm", HELM)):
            program = folder / name
            program.write_text(text.format(folder=folder))
            program.chmod(0o755)
        for kind, answer in has.items():
            (folder / kind).write_text(answer)
        images = {name: f"registry.example/{name}:1" for name in ("operator", "trainer", "hub")}
        kubectl = Kubectl(program=str(folder / "kubectl"), kubeconfig="/etc/config")
        self.given = Target(kubectl=kubectl, helm=str(folder / "helm"), images=images, is_ours=False)

    @property
    def calls(self) -> list[str]:
        """Return the command lines, in their order."""
        return (self._folder / "calls").read_text().splitlines()

    @property
    def applied(self) -> str:
        """Return all manifests that were applied."""
        return (self._folder / "applied").read_text()
