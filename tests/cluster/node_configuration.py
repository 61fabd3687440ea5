"""The files that a node's containerd, network plugin and kubelet read."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import addresses, cgroups, network, system_images
from tests.cluster.certificates import AUTHORITY, kubeconfig_of
from tests.cluster.paths import CERTIFICATES

ADDRESS = addresses.HOST
KUBELET_PORT = 10250
# The machine's disk is shared with everything else on it. A kubelet that minds how full it is deletes every image that
# no pod uses, the pause image too, which cannot be pulled again; it stays Ready, but no pod is started there any more.
DISK_SIGNALS = ("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")

CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{run}/containerd"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{run}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# A machine that is itself confined may lack CAP_SYS_RESOURCE, without which scores cannot be lowered.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
# What is unpacked need not be kept packed as well: the trainer image is big.
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
discard_unpacked_layers = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
# Its default is one folder for every containerd of the machine.
Root = "{run}/runc"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{folder}/registries"
"""

REGISTRY = """\
server = "http://{registry}"
[host."http://{registry}"]
capabilities = ["pull", "resolve"]
"""


def kubeconfig(name: str) -> Path:
    """Return how the kubelet of that node reaches the API server."""
    return kubeconfig_of(name)


def write(name: str, *, index: int, folder: Path, run: Path, binaries: Path) -> None:
    """Write every configuration file of a node into `folder`."""
    registry = folder / "registries" / addresses.REGISTRY
    for needed in (folder / "cni", folder / "opt", registry, run):
        needed.mkdir(parents=True, exist_ok=True)
    (registry / "hosts.toml").write_text(REGISTRY.format(registry=addresses.REGISTRY))
    containerd = CONTAINERD.format(folder=folder, run=run, pause=system_images.references(binaries).pause)
    (folder / "containerd.toml").write_text(containerd)
    (folder / "cni" / "10-bridge.conflist").write_text(json.dumps(_pod_network(name, index=index, run=run)))
    # Pods that ask for the machine's own name resolution get the cluster's too.
    (folder / "resolv.conf").write_text(f"nameserver {addresses.HOST}\n")
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(name, index=index, folder=folder, run=run)))


def _pod_network(name: str, *, index: int, run: Path) -> dict[str, Any]:
    # ipMasq false: pods of both nodes reach each other directly, and nothing outside the machine.
    addressing = {
        "type": "host-local",
        "ranges": [[{"subnet": network.pod_range_of(index)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(run / "addresses"),
    }
    bridge = {
        "type": "bridge",
        "bridge": network.bridge_of(name),
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": addressing,
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _kubelet(name: str, *, index: int, folder: Path, run: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": KUBELET_PORT + 10 * index,
        "healthzPort": KUBELET_PORT + 10 * index + 1,
        "readOnlyPort": 0,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(AUTHORITY)}},
        "tlsCertFile": str(CERTIFICATES / f"{name}.crt"),
        "tlsPrivateKeyFile": str(CERTIFICATES / f"{name}.key"),
        "containerRuntimeEndpoint": f"unix://{run}/containerd.sock",
        # Chains for other programs to use, and a rule for the machine's own traffic; a kubelet never removes them.
        "makeIPTablesUtilChains": False,
        "clusterDNS": [addresses.HOST],
        "clusterDomain": addresses.CLUSTER_DOMAIN,
        "resolvConf": str(folder / "resolv.conf"),
        "podLogsDir": str(folder / "kubelet" / "pod-logs"),
        "volumePluginDir": str(folder / "kubelet" / "plugins"),
        **_resources(name),
        **_timing(),
    }


def _resources(name: str) -> dict[str, Any]:
    return {
        "cgroupRoot": f"/{cgroups.path_of(name)}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "evictionHard": {"memory.available": "200Mi", **dict.fromkeys(DISK_SIGNALS, "0%")},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _timing() -> dict[str, Any]:
    return {
        "nodeLeaseDurationSeconds": 12,
        "nodeStatusUpdateFrequency": "4s",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 2,
    }
