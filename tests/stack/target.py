"""Which cluster to use: the one that KUBECONFIG names, else one that is built and started on this machine."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from finetune_api.quantities import parse_quantity
from tests.stack.kubectl import Kubectl

IMAGE_VARIABLES = {"operator": "OPERATOR_IMAGE", "trainer": "TRAINER_IMAGE", "hub": "HUB_IMAGE"}


@dataclass(frozen=True)
class Target:
    """A cluster and the images it can pull."""

    kubectl: Kubectl
    helm: str
    images: dict[str, str]
    is_ours: bool
    """True for the cluster that this project starts itself."""

    @property
    def has_accelerators(self) -> bool:
        """Return whether nodes offer nvidia.com/gpu; on our own cluster they are advertised, not real."""
        path = "jsonpath={.items[*].status.allocatable.nvidia\\.com/gpu}"
        # A node whose device plugin is gone still offers them, 0 in number.
        return any(parse_quantity(count) > 0 for count in self.kubectl.run("get", "nodes", "-o", path).split())


def find_kubectl() -> Kubectl:
    """Return kubectl for a running cluster; starts ours if no other one is given."""
    if given := given_kubeconfig():
        return Kubectl(program="kubectl", kubeconfig=given)
    from tests.cluster import cluster

    cluster.up()
    return Kubectl(program=str(cluster.program("kubectl")), kubeconfig=str(cluster.kubeconfig()))


def find_target() -> Target:
    """Return a running cluster with the images of this checkout; starts and builds what is missing."""
    given = given_kubeconfig()
    return _given(given, variables=IMAGE_VARIABLES) if given else _ours()


def find_given_cluster() -> Target | None:
    """Return the cluster that KUBECONFIG names, to remove things from: no images are asked for. None without one."""
    given = given_kubeconfig()
    return _given(given, variables={}) if given else None


def given_kubeconfig() -> str:
    """Return the path or paths that KUBECONFIG names; `make KUBECONFIG=~/...` leaves a ~ to whoever reads it."""
    paths = os.environ.get("KUBECONFIG", "").split(os.pathsep)
    return os.pathsep.join(str(Path(path).expanduser()) if path else path for path in paths)


def _ours() -> Target:
    from tests.cluster import cluster, images

    return Target(kubectl=find_kubectl(), helm=str(cluster.program("helm")), images=images.ensure(), is_ours=True)


def _given(kubeconfig: str, *, variables: dict[str, str]) -> Target:
    programs = [tool for tool in ("kubectl", "helm") if shutil.which(tool) is None]
    unset = [name for name in variables.values() if not os.environ.get(name)]
    wanted = [f"install {' and '.join(programs)}"] if programs else []
    if unset:
        images = "images that your cluster can pull (docs/images.md says how to build them)"
        wanted.append(f"set {', '.join(unset)} to {images}")
    if wanted:
        raise SystemExit(f"KUBECONFIG={kubeconfig} is used: {', and '.join(wanted)}")
    return Target(
        kubectl=Kubectl(program="kubectl", kubeconfig=kubeconfig),
        helm="helm",
        images={name: os.environ[variable] for name, variable in variables.items()},
        is_ours=False,
    )
