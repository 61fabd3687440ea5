"""How much more memory this process may take."""

import os
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

#: Limit and use of the container, as version 2 and version 1 of control groups tell them.
CONTROL_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def room_bytes(device: torch.device) -> int:
    """Return how many bytes more `device` can hold for this process, shared fairly with the ranks beside it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min([int(psutil.virtual_memory().available), *_container_rooms()]) // beside


def _container_rooms() -> list[int]:
    """Return the room below the container's limit, if it has one; what caches files counts as taken."""
    rooms = []
    for limit, used in CONTROL_GROUPS:
        try:
            rooms.append(max(0, int(limit.read_text()) - int(used.read_text())))
        except (OSError, ValueError):  # the other version, or no limit, which is called max
            continue
    return rooms
