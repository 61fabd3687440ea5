"""How many CPUs a pod may use."""

import math
import os
from pathlib import Path

#: The limit of a container, as it sees itself (cgroup v2): microseconds of CPU time and of what they are counted in.
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus() -> int:
    """Return how many CPUs this process may use, by its affinity and by its container's limit.

    On macOS, which limits neither, how many there are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_MAX.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, math.ceil(int(quota) / int(period)))
