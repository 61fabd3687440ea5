"""Foreign exceptions of a training process, told as the reason that they mean."""

import errno
import re
from pathlib import Path

import torch
from torch import distributed

from finetune_api.reasons import Reason
from finetune_trainer.causes import causes
from finetune_trainer.failures import RunFailure

FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
FULL_DISK_TEXT = re.compile(r"no space left on device|disk quota exceeded|os error 28\b", re.IGNORECASE)
OUT_OF_MEMORY_TEXT = re.compile(r"out of memory|can't allocate memory|cannot allocate memory", re.IGNORECASE)
#: What gloo, NCCL and the key-value store say when the other end is gone or silent.
LOST_PEER_TEXT = re.compile(
    r"connection closed by peer|connection reset by peer|connection refused|broken pipe|gloo|nccl|"
    r"remote process exited|timed out waiting|wait timeout|failed to recv|rendezvous",
    re.IGNORECASE,
)
MESSAGE_LENGTH = 300


def explain(error: BaseException) -> RunFailure:
    """Return `error` as a RunFailure; its first cause decides."""
    for cause in causes(error):
        if isinstance(cause, RunFailure):
            return cause
        if is_full_disk(cause):
            return RunFailure(Reason.STORAGE_FULL, "the volume is full; raise storage.size or lower checkpoint.keep")
        if is_out_of_memory(cause):
            return RunFailure(
                Reason.OUT_OF_MEMORY,
                f"memory ran out ({shorten(cause)}); lower training.loss.arguments.mini_batch_size, "
                "perDeviceTrainBatchSize, evaluation.batchSize or image size, or ask for more memory",
            )
        if is_lost_peer(cause):
            return RunFailure(Reason.PEER_LOST, f"another rank is gone or silent ({shorten(cause)})")
    return RunFailure(Reason.TRAINER_ERROR, f"{shorten(error)}{place(error)}")


def is_full_disk(error: BaseException) -> bool:
    """Return whether a write found no room."""
    if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
        return True
    return bool(FULL_DISK_TEXT.search(str(error)))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed, on an accelerator or in main memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and bool(OUT_OF_MEMORY_TEXT.search(str(error)))


def is_lost_peer(error: BaseException) -> bool:
    """Return whether a collective failed because of the other end: a consequence, not a cause."""
    if isinstance(error, distributed.DistError | ConnectionError):
        return True
    return isinstance(error, RuntimeError | TimeoutError) and bool(LOST_PEER_TEXT.search(str(error)))


def shorten(error: BaseException) -> str:
    """Return type and first line; the rest may quote data."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:MESSAGE_LENGTH]


def place(error: BaseException) -> str:
    """Return ` (at FILE:LINE)` of the innermost frame, or nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" (at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
