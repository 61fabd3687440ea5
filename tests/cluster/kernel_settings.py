"""Kernel settings of the machine that the cluster changes: what they were before is remembered, and given back."""

import json
from pathlib import Path

from tests.cluster.paths import RUN

FOLDER = Path("/proc/sys")
FORWARDING = "net/ipv4/ip_forward"
# What every kubelet sets at its start, or it does not start: `setupKernelTunables` in
# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/kubelet/cm/container_manager_linux.go
OF_KUBELETS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
REMEMBERED = RUN / "kernel-settings.json"


def change() -> None:
    """Let packets through between pods; what the settings were before the cluster is remembered once."""
    if not REMEMBERED.exists():
        RUN.mkdir(parents=True, exist_ok=True)
        REMEMBERED.write_text(json.dumps({name: _read(name) for name in (FORWARDING, *OF_KUBELETS)}))
    _write(FORWARDING, "1")


def restore() -> None:
    """Give the settings their values of before `change`; does nothing without one."""
    if not REMEMBERED.exists():
        return
    for name, value in json.loads(REMEMBERED.read_text()).items():
        _write(name, value)
    REMEMBERED.unlink()


def _read(name: str) -> str:
    return (FOLDER / name).read_text().strip()


def _write(name: str, value: str) -> None:
    if _read(name) != value:  # a container may not write what it may read
        (FOLDER / name).write_text(value)
