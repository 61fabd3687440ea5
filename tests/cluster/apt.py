"""Installs the Debian packages that the cluster stands on, if one of their programs is missing."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.progress import say

# package -> a file or a program that it brings
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "nftables": "nft",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "mount": "umount",
    "procps": "sysctl",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "busybox-static": "/bin/busybox",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}


def ensure() -> None:
    """Install what is missing; as root on Debian or one of its children.

    Raises:
        SystemExit: not root, or packages are missing and there is no apt-get.
    """
    if os.geteuid() != 0:
        message = (
            "user: is not root, but the test cluster runs containers; run as root, or give KUBECONFIG of a cluster"
        )
        raise SystemExit(message)
    missing = [package for package, brings in NEEDED.items() if not _is_there(brings)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        message = f"packages: {', '.join(missing)} are missing and there is no apt-get here; install them"
        raise SystemExit(message)
    say(f"Installing Debian packages: {' '.join(missing)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def _is_there(brings: str) -> bool:
    return Path(brings).exists() if brings.startswith("/") else shutil.which(brings) is not None
