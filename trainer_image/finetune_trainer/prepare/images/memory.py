"""How much memory images may take while they are decoded, and who may take it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

#: The limit of a container, as it sees itself (cgroup v2): bytes, or "max".
MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")
#: Pages of memory of this process: all, then those that are resident.
STATM = Path("/proc/self/statm")
#: Of what is left to images; the rest is for what rows hold besides, and for libraries.
_SHARE = 0.5


def memory_for_images() -> int:
    """Return the bytes that decoded images may take together: half of what this process leaves of its container.

    Without a limit, of the machine's memory.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    try:
        limit = int(MEMORY_MAX.read_text())
    except (OSError, ValueError):
        limit = page * os.sysconf("SC_PHYS_PAGES")
    try:
        used = page * int(STATM.read_text().split()[1])
    except OSError:  # macOS
        used = 0
    return max(0, int((limit - used) * _SHARE))


class Room:
    """So many bytes that threads share. Who wants more than there are at all gets them when nobody else has any."""

    def __init__(self, num_bytes: int) -> None:
        self._all = self._free = max(1, num_bytes)
        self._changed = Condition()

    @contextmanager
    def taken(self, num_bytes: int) -> Iterator[None]:
        """Wait until so many are free; they are this thread's while inside."""
        taken = min(num_bytes, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= taken)
            self._free -= taken
        try:
            yield
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()
