"""Foreign exceptions of a training process, told as the reason that they mean."""

import errno
import re
from pathlib import Path

from torch import distributed

from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.memory import is_out_of_memory
from finetune_trainer.train.gang.faults import is_node_fault, is_storage_fault
from finetune_trainer.workspace.causes import admitted_causes, stated_causes
from finetune_trainer.workspace.failures import RunFailure

FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
FULL_DISK_TEXT = re.compile(r"\bno space left on device\b|\bdisk quota exceeded\b|\bos error 28\b", re.IGNORECASE)
#: In data loader workers, before, while and after torch writes to a file below /dev/shm, which is what they share.
SHARED_MEMORY_TEXT = re.compile(r"\bshared memory\b|\btorch_\d+_|\bDataLoader worker .*Bus error", re.IGNORECASE)
#: How torch tells of a worker that ended without a word: first that one did, and as the cause of that how it did.
#: SIGKILL is how the kernel gets memory back; nothing here sends it to a worker.
DEAD_WORKER_TEXT = re.compile(r"\bDataLoader worker \(pid.*(killed by signal|exited unexpectedly)")
KILLED_WORKER_TEXT = re.compile(r"\bDataLoader worker .*killed by signal: Killed")
#: What gloo, NCCL and the key-value store say when the other end is gone or silent.
LOST_PEER_TEXT = re.compile(
    r"\b(connection closed by peer|connection reset by peer|connection refused|broken pipe|remote process exited|"
    r"timed out waiting|wait timeout|failed to recv|rendezvous)\b|gloo/transport|"
    r"(?<![\w/.-])(ProcessGroup)?(Gloo\b|NCCL)",
    re.IGNORECASE,
)
#: How the data loader tells an error of a worker, whose own words come after the worker's traceback.
OF_WORKER = re.compile(r"Caught (\w+) in DataLoader worker process")
MESSAGE_LENGTH = 300


def explain(error: BaseException) -> RunFailure:
    """Return `error` as a RunFailure; its first cause decides.

    A lost peer is a cause only where that is stated: what failed while a lost connection was being handled is told.
    """
    stated = [id(cause) for cause in stated_causes(error)]
    for cause in admitted_causes(error):
        failure = cause if isinstance(cause, RunFailure) else explain_shortage(cause) or explain_fault(cause)
        if failure is not None:
            return failure
        if id(cause) in stated and is_lost_peer(cause):
            return RunFailure(Reason.PEER_LOST, f"another rank is gone or silent ({shorten(cause)})")
    dead_workers = [cause for cause in admitted_causes(error) if is_dead_worker(cause)]
    if dead_workers:
        message = f"a data loader worker ended ({shorten(dead_workers[-1])}); read the log above"
        return RunFailure(Reason.TRAINER_ERROR, message)
    return RunFailure(Reason.TRAINER_ERROR, f"{shorten(error)}{place(error)}")


def explain_shortage(error: BaseException) -> RunFailure | None:
    """Return `error` as the shortage of memory or storage that it tells of, None if it does not."""
    if is_full_shared_memory(error):
        return RunFailure(
            Reason.OUT_OF_MEMORY,
            f"shared memory ran out ({shorten(error)}); "
            "raise resources.sharedMemory or lower training.arguments.dataloader_num_workers",
        )
    if is_killed_worker(error):
        return RunFailure(
            Reason.OUT_OF_MEMORY,
            f"main memory ran out ({shorten(error)}); "
            "raise resources.requests.memory or lower training.arguments.dataloader_num_workers",
        )
    if is_full_disk(error):
        return RunFailure(Reason.STORAGE_FULL, "the volume is full; raise storage.size or lower checkpoint.keep")
    if is_out_of_memory(error):
        return RunFailure(
            Reason.OUT_OF_MEMORY,
            f"memory ran out ({shorten(error)}); lower training.loss.arguments.mini_batch_size, "
            "perDeviceTrainBatchSize, evaluation.batchSize or image size, or ask for more memory",
        )
    return None


def explain_fault(error: BaseException) -> RunFailure | None:
    """Return `error` as the fault of the platform that it tells of, None if it does not."""
    if is_node_fault(error):
        return RunFailure(Reason.NODE_FAULT, f"an accelerator or its driver failed ({shorten(error)})")
    if is_storage_fault(error):
        return RunFailure(Reason.STORAGE_FAULT, f"the volume failed ({shorten(error)})")
    return None


def is_full_shared_memory(error: BaseException) -> bool:
    """Return whether a data loader worker found no room for what it hands over."""
    return isinstance(error, RuntimeError | OSError) and bool(SHARED_MEMORY_TEXT.search(str(error)))


def is_killed_worker(error: BaseException) -> bool:
    """Return whether a data loader worker was killed from outside, as the kernel does when main memory runs out."""
    return isinstance(error, RuntimeError) and bool(KILLED_WORKER_TEXT.search(str(error)))


def is_dead_worker(error: BaseException) -> bool:
    """Return whether a data loader worker ended without an error of its own."""
    return isinstance(error, RuntimeError) and bool(DEAD_WORKER_TEXT.search(str(error)))


def is_full_disk(error: BaseException) -> bool:
    """Return whether a write found no room."""
    if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
        return True
    return bool(FULL_DISK_TEXT.search(str(error)))


def is_lost_peer(error: BaseException) -> bool:
    """Return whether a collective failed because of the other end: a consequence, not a cause."""
    if isinstance(error, distributed.DistError | ConnectionError):
        return True
    return isinstance(error, RuntimeError | TimeoutError) and bool(LOST_PEER_TEXT.search(str(error)))


def shorten(error: BaseException) -> str:
    """Return type and first line; the rest may quote data."""
    lines = str(error).strip().splitlines() or [""]
    told = f"{type(error).__name__}: {lines[0]}"
    if worker := OF_WORKER.match(lines[0]):
        own = re.compile(rf"([\w.]+\.)?{worker[1]}: ")
        told = next((line for line in lines[1:] if own.match(line)), told)
    return told[:MESSAGE_LENGTH]


def place(error: BaseException) -> str:
    """Return ` (at FILE:LINE)` of the innermost frame, or nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" (at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
