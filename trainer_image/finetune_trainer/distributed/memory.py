"""Memory that the C library's allocator holds on to."""

import ctypes

import torch


def give_back_memory(device: torch.device) -> None:
    """Give freed memory of a process that computes on a CPU back to the system.

    glibc keeps it, after batches of many lengths a few hundred MB in pieces too small for what comes next. Does nothing
    where the C library is another.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if device.type == "cpu" and trim is not None:
        trim(0)
