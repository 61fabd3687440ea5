"""The cluster as a whole, and what other tests may use of it.

Tests use `kubeconfig`, `kubectl`, `image_references`, `stop_node` and `start_node`; all of them may ask for `up`.
"""

import subprocess
from pathlib import Path

from tests.cluster import (
    api,
    apt,
    binaries,
    certificates,
    cgroups,
    content,
    control_plane,
    diagnosis,
    disk,
    dns,
    images,
    kernel_settings,
    mounts,
    network,
    node,
    nodes,
    paths,
    processes,
    registry,
    system_images,
    volumes,
)

DRIVER = Path(__file__).resolve().parent
# The files that say how the cluster is set up: a cluster that was started by other ones is not reused.
SETUP = ("addresses", "control_plane", "dns", "kernel_settings", "network", "node_configuration", "volumes")
FINGERPRINT = paths.RUN / "fingerprint"


class KubectlError(Exception):
    """kubectl refused; the message is what it wrote to standard error."""


def up() -> None:
    """Have a healthy cluster: reuse the one that runs, mend it where a part is gone, else start a fresh one."""
    with paths.exclusive("cluster"):
        apt.ensure()
        disk.check(disk.RUNNING_GIB, what="a running cluster")
        built = binaries.ensure()
        fingerprint = _fingerprint(built)
        if not _is_usable(fingerprint):
            _clear()
            _prepare()
            FINGERPRINT.write_text(fingerprint)
        kernel_settings.change()
        network.up()
        control_plane.start(built)
        registry.start(built)
        dns.start(built)
        volumes.start(built)
        nodes.up(built)
        control_plane.start_proxy(built)


def down() -> None:
    """End everything that runs and take back what was changed on the machine; keep binaries and images."""
    with paths.exclusive("cluster"):
        _clear()


def stop_node(name: str) -> None:
    """End a node as a power cut would; the cluster notices after about 20 s."""
    with paths.exclusive("cluster"):
        node.stop(node.named(name))


def start_node(name: str) -> None:
    """Start a stopped node again and wait until it is Ready; does nothing to one that runs."""
    with paths.exclusive("cluster"):
        worker = node.named(name)
        built = binaries.folder()
        try:
            node.start(worker, built)
            node.wait_until_ready(worker, built)
        except node.NodeError as error:
            raise SystemExit(f"{error}\n{diagnosis.of_own_cluster()}") from error


def kubeconfig() -> Path:
    """Return the path of the administrator's kubeconfig."""
    return paths.KUBECONFIG


def image_references() -> dict[str, str]:
    """Build, push and pull what changed, and return the reference of each of the project's images by name."""
    return images.ensure()


def environment() -> dict[str, str]:
    """Return the environment by which kubectl, helm and clients of Kubernetes find the cluster."""
    return {"KUBECONFIG": str(paths.KUBECONFIG), "KUBECTL": str(program("kubectl")), "HELM": str(program("helm"))}


def program(name: str) -> Path:
    """Return the path of kubectl or helm as built for this cluster."""
    return binaries.folder() / name


def kubectl(*arguments: str, text: str = "") -> str:
    """Return what kubectl prints, with `text` as its standard input.

    Raises:
        KubectlError: it failed; the message is what it said, and what is known of the cluster if it waited in vain.
    """
    command = [str(program("kubectl")), f"--kubeconfig={paths.KUBECONFIG}", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=text)
    if done.returncode != 0:
        details = f"\n{diagnosis.of_own_cluster()}" if arguments[0] in {"wait", "rollout"} else ""
        raise KubectlError(done.stderr.strip() + details)
    return done.stdout


def status() -> dict[str, object]:
    """Return what runs and what does not."""
    names = [*control_plane.NAMES, registry.NAME, dns.NAME, volumes.NAME]
    return {
        "apiServer": "ready" if api.is_ready() else "not ready",
        "processes": {name: processes.is_running(name) for name in names},
        "nodes": {
            worker.name: {"running": node.is_running(worker), "ready": node.is_ready(worker)} for worker in node.NODES
        },
        "kubeconfig": str(paths.KUBECONFIG),
    }


def _fingerprint(built: Path) -> str:
    images = system_images.references(built)
    return content.key_of(processes.boot_id(), built.name, *images, *(DRIVER / f"{name}.py" for name in SETUP))


def _is_usable(fingerprint: str) -> bool:
    is_ours = FINGERPRINT.exists() and FINGERPRINT.read_text() == fingerprint
    return is_ours and processes.is_running("etcd") and api.is_ready()


def _prepare() -> None:
    paths.CLUSTER.mkdir(parents=True, exist_ok=True)
    paths.RUN.mkdir(parents=True, exist_ok=True)
    certificates.create_all(nodes=[worker.name for worker in node.NODES])


def _clear() -> None:
    FINGERPRINT.unlink(missing_ok=True)
    for worker in node.NODES:
        node.stop(worker)
    volumes.stop()
    dns.stop()
    registry.stop()
    control_plane.stop()
    cgroups.remove_all()
    network.down()
    kernel_settings.restore()
    mounts.delete(paths.CLUSTER / "etcd")
    mounts.delete(paths.LOGS)
