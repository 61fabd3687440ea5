"""Memory that ran out, in the words of whoever ran out of it."""

import re

import torch

OUT_OF_MEMORY_TEXT = re.compile(
    r"\bout of memory\b|\b(can't|cannot) allocate memory\b|\bCU[A-Z]+_STATUS_ALLOC_FAILED\b", re.IGNORECASE
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed, on an accelerator or in main memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and bool(OUT_OF_MEMORY_TEXT.search(str(error)))
