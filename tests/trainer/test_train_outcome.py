import errno
import os
import re
import signal
from typing import Any

import pytest

from finetune_api.contract import Role, RunResult, Work
from finetune_api.reasons import Reason
from finetune_api.status import CheckpointStatus, ProgressStatus
from finetune_trainer.train.gang.outcome import conclude
from finetune_trainer.train.gang.records import RankRecord
from finetune_trainer.workspace.failures import RunFailure


def record(rank: int, reason: Reason, *, at: float = 0.0) -> RankRecord:
    result = RunResult(role=Role.TRAIN, reason=reason, message=f"message of rank {rank}")
    return RankRecord(rank=rank, time=at, result=result)


def outcome(
    *records: RankRecord, exits: dict[int, int] | None = None, stop_requested: bool = False, memory_kills: int = 0
) -> tuple[Reason, int | None, str]:
    result = conclude(
        list(records),
        exits=exits or {},
        exit_code=1 if exits else 0,
        stop_requested=stop_requested,
        memory_kills=memory_kills,
    )
    return result.reason, result.failed_rank, result.message


def test_a_pod_whose_ranks_all_succeed_has_the_result_of_its_first() -> None:
    ended = outcome(record(2, Reason.TRAINED), record(3, Reason.TRAINED))

    assert ended == (Reason.TRAINED, None, "message of rank 2")


def test_a_cause_wins_over_consequences_that_were_noticed_earlier() -> None:
    ended = outcome(record(0, Reason.PEER_LOST, at=1), record(1, Reason.OUT_OF_MEMORY, at=2), exits={0: 1, 1: 1})

    assert ended == (Reason.OUT_OF_MEMORY, 1, "message of rank 1")


def test_of_two_causes_the_first_by_time_wins() -> None:
    ended = outcome(record(0, Reason.TRAINER_ERROR, at=2), record(1, Reason.STORAGE_FULL, at=1), exits={0: 1, 1: 1})

    assert ended == (Reason.STORAGE_FULL, 1, "message of rank 1")


def test_a_rank_that_was_killed_is_the_cause_of_lost_peers() -> None:
    ended = outcome(record(0, Reason.PEER_LOST), exits={0: 1, 1: -signal.SIGKILL})

    assert ended == (Reason.RANK_KILLED, 1, "rank 1 was ended from outside by SIGKILL")


def test_a_rank_that_torchrun_killed_after_a_peer_was_lost_is_no_cause() -> None:
    ended = outcome(record(0, Reason.PEER_LOST), exits={0: 1})

    assert ended == (Reason.PEER_LOST, 0, "message of rank 0")


@pytest.mark.parametrize(
    ("code", "memory_kills", "reason"),
    [
        (-signal.SIGKILL, 1, Reason.OUT_OF_MEMORY),
        (-signal.SIGBUS, 0, Reason.OUT_OF_MEMORY),
        (-signal.SIGSEGV, 0, Reason.TRAINER_ERROR),
        (1, 0, Reason.TRAINER_ERROR),
    ],
)
def test_a_silent_end_is_told_by_its_exit_code(code: int, memory_kills: int, reason: Reason) -> None:
    ended = outcome(exits={1: code}, memory_kills=memory_kills)

    assert ended[:2] == (reason, 1)


def test_a_rank_that_is_aborted_lost_its_peers_where_nccl_watches_it_and_failed_elsewhere() -> None:
    reasons = [
        conclude(
            [],
            exits={1: -signal.SIGABRT},
            exit_code=1,
            stop_requested=False,
            memory_kills=0,
            has_watchdog=has_watchdog,
        ).reason
        for has_watchdog in (True, False)
    ]

    assert reasons == [Reason.PEER_LOST, Reason.TRAINER_ERROR]


def test_how_far_training_came_is_told_by_the_writer_whoever_failed_first() -> None:
    told = {"progress": ProgressStatus(step=7), "checkpoint": CheckpointStatus(step=5), "work": Work(useful_seconds=9)}
    writer, other = record(0, Reason.PEER_LOST, at=2), record(1, Reason.TRAINER_ERROR, at=1)
    records = [
        RankRecord(rank=0, time=writer.time, result=writer.result.model_copy(update=told)),
        RankRecord(rank=1, time=other.time, result=other.result.model_copy(update={"work": Work(unsaved_seconds=20)})),
    ]

    result = conclude(records, exits={}, exit_code=1, stop_requested=False, memory_kills=0)
    without_writer = conclude(records[1:], exits={}, exit_code=1, stop_requested=False, memory_kills=0)

    assert (result.failed_rank, result.work) == (1, told["work"])
    assert (result.progress, result.checkpoint) == (told["progress"], told["checkpoint"])
    assert without_writer.work is None


def test_a_bus_error_is_told_with_its_likely_cause() -> None:
    ended = outcome(exits={1: -signal.SIGBUS})

    message = "rank 1 got a bus error; most likely /dev/shm is full: raise resources.sharedMemory"
    assert ended == (Reason.OUT_OF_MEMORY, 1, message)


def test_a_pod_that_was_asked_to_end_was_preempted_whatever_its_peers_do() -> None:
    assert outcome(record(0, Reason.PREEMPTED), stop_requested=True)[0] is Reason.PREEMPTED
    assert outcome(record(0, Reason.PEER_LOST), exits={0: 1}, stop_requested=True)[0] is Reason.PREEMPTED
    assert outcome(stop_requested=True)[0] is Reason.PREEMPTED


def test_a_pod_that_says_nothing_is_an_error() -> None:
    assert outcome()[0] is Reason.TRAINER_ERROR


def wrapped(cause: BaseException) -> RuntimeError:
    error = RuntimeError("in the data loader")
    error.__cause__ = cause
    return error


def test_foreign_exceptions_are_told_as_reasons() -> None:
    import torch
    from safetensors import SafetensorError
    from torch import distributed

    from finetune_trainer.train.gang.errors import explain

    expected = {
        RunFailure(Reason.NON_FINITE_LOSS, "no number"): Reason.NON_FINITE_LOSS,
        wrapped(RunFailure(Reason.PREEMPTED, "asked to end")): Reason.PREEMPTED,
        MemoryError(): Reason.OUT_OF_MEMORY,
        RuntimeError("unable to resize file </torch_41_7_0> to the right size: No space left on device (28)"): (
            Reason.OUT_OF_MEMORY
        ),
        RuntimeError("unable to allocate shared memory(shm) for file </x>: No space left on device (28)"): (
            Reason.OUT_OF_MEMORY
        ),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. "): Reason.OUT_OF_MEMORY,
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"): (
            Reason.OUT_OF_MEMORY
        ),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"): Reason.OUT_OF_MEMORY,
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"): Reason.OUT_OF_MEMORY,
        wrapped(OSError(errno.ENOSPC, "No space left on device")): Reason.STORAGE_FULL,
        RuntimeError("I/O error: No space left on device (os error 28)"): Reason.STORAGE_FULL,
        distributed.DistBackendError("NCCL error: remote process exited"): Reason.PEER_LOST,
        RuntimeError("[gloo/transport/tcp/pair.cc:554] Connection closed by peer [127.0.0.1]"): Reason.PEER_LOST,
        RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] is gone"): Reason.PEER_LOST,
        RuntimeError("Gloo connectFullMesh failed"): Reason.PEER_LOST,
        RuntimeError("ncclSystemError: System call failed"): Reason.PEER_LOST,
        wrapped(ConnectionError("in the store")): Reason.PEER_LOST,
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"): Reason.PEER_LOST,
        RuntimeError("CUDA error: uncorrectable ECC error encountered"): Reason.NODE_FAULT,
        RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be"): Reason.NODE_FAULT,
        RuntimeError("CUDA error: an illegal memory access was encountered"): Reason.NODE_FAULT,
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"): Reason.NODE_FAULT,
        RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"): Reason.NODE_FAULT,
        RuntimeError("No CUDA-capable device is detected"): Reason.NODE_FAULT,
        wrapped(RuntimeError("NVML: Driver/library version mismatch")): Reason.NODE_FAULT,
        distributed.DistBackendError("NCCL error: Cuda failure 'uncorrectable ECC error encountered'"): (
            Reason.NODE_FAULT
        ),
        RuntimeError("CUDA error: device-side assert triggered"): Reason.TRAINER_ERROR,
        wrapped(OSError(errno.EIO, "Input/output error")): Reason.STORAGE_FAULT,
        OSError(errno.ESTALE, "Stale file handle"): Reason.STORAGE_FAULT,
        OSError(errno.ENOLCK, "No locks available"): Reason.STORAGE_FAULT,
        SafetensorError("I/O error: Input/output error (os error 5)"): Reason.STORAGE_FAULT,
        OSError(errno.ENOENT, "No such file or directory", "a/remote I/O error"): Reason.TRAINER_ERROR,
        ValueError("not what was expected"): Reason.TRAINER_ERROR,
        RuntimeError("cannot read /data/igloo/x"): Reason.TRAINER_ERROR,
        RuntimeError("cannot read /data/gloo/x or /srv/nccl"): Reason.TRAINER_ERROR,
    }

    assert {error: explain(error).reason for error in expected} == expected


DEAD_WORKER = "RuntimeError: DataLoader worker (pid N)"
WORKERS_END: dict[int, tuple[Reason, str]] = {
    signal.SIGKILL: (
        Reason.OUT_OF_MEMORY,
        f"main memory ran out ({DEAD_WORKER} is killed by signal: Killed.); "
        "raise resources.requests.memory or lower training.arguments.dataloader_num_workers",
    ),
    signal.SIGBUS: (
        Reason.OUT_OF_MEMORY,
        f"shared memory ran out ({DEAD_WORKER} is killed by signal: Bus error. It is possible that dataloader's "
        "workers are out of shared memory. Please try to raise your shared memory limit.); "
        "raise resources.sharedMemory or lower training.arguments.dataloader_num_workers",
    ),
    signal.SIGSEGV: (
        Reason.TRAINER_ERROR,
        f"a data loader worker ended ({DEAD_WORKER} is killed by signal: Segmentation fault.); read the log above",
    ),
    signal.SIGTERM: (
        Reason.TRAINER_ERROR,
        f"a data loader worker ended ({DEAD_WORKER} is killed by signal: Terminated.); read the log above",
    ),
    0: (
        Reason.TRAINER_ERROR,
        f"a data loader worker ended ({DEAD_WORKER} exited unexpectedly with exit code 3. Details are lost due to "
        "multiprocessing. Rerunning with num_workers=0 may give better error trace.); read the log above",
    ),
}


class Deadly:
    """Rows at which the process that reads them ends, by a signal or with an exit code."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> None:
        os.kill(os.getpid(), self.number)
        os._exit(3)


@pytest.mark.parametrize("number", WORKERS_END, ids=lambda number: f"signal-{number:d}")
def test_how_a_data_loader_worker_died_says_which_memory_ran_out_if_any(number: int) -> None:
    from torch.utils.data import DataLoader

    from finetune_trainer.train.gang.errors import explain

    loader: DataLoader[Any] = DataLoader(Deadly(number), num_workers=1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="DataLoader worker") as caught:
        next(iter(loader))

    failure = explain(caught.value)
    assert (failure.reason, re.sub(r"pid \d+", "pid N", failure.message)) == WORKERS_END[number]


def test_a_data_loader_worker_that_died_no_one_knows_how_is_not_said_to_have_run_out_of_memory() -> None:
    from finetune_trainer.train.gang.errors import explain

    failure = explain(RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"))

    assert (failure.reason, failure.message) == (
        Reason.TRAINER_ERROR,
        "a data loader worker ended (RuntimeError: DataLoader worker (pid(s) 7) exited unexpectedly); "
        "read the log above",
    )


def test_what_fails_while_a_lost_connection_is_handled_is_the_cause() -> None:
    from finetune_trainer.train.gang.errors import explain

    with pytest.raises(ValueError, match="not what") as caught:
        fail_after(ConnectionError("no metrics server"))

    assert explain(caught.value).reason is Reason.TRAINER_ERROR


@pytest.mark.parametrize(
    ("suppressed", "reason"), [(False, Reason.STORAGE_FULL), (True, Reason.TRAINER_ERROR)], ids=["told", "suppressed"]
)
def test_a_full_volume_is_the_cause_of_what_fails_because_of_it_unless_that_is_denied(
    *, suppressed: bool, reason: Reason
) -> None:
    from finetune_trainer.train.gang.errors import explain

    with pytest.raises(ValueError, match="not what") as caught:
        fail_after(OSError(errno.ENOSPC, "No space left on device"), suppressed=suppressed)

    assert explain(caught.value).reason is reason


def fail_after(first: Exception, *, suppressed: bool = False) -> None:
    try:
        raise first
    except type(first):
        error = ValueError("not what was expected")
        error.__suppress_context__ = suppressed
        raise error  # noqa: B904 - whether there is a cause is what is tested


class Unreadable:
    """Rows that cannot be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> str:
        raise OSError(errno.EIO, "Input/output error", "images/ab.png")


def test_an_error_of_a_data_loader_worker_is_told_in_its_own_words() -> None:
    from torch.utils.data import DataLoader

    from finetune_trainer.train.gang.errors import explain

    loader: DataLoader[Any] = DataLoader(Unreadable(), num_workers=1)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="Caught OSError in DataLoader worker process 0") as caught:
        next(iter(loader))

    failure = explain(caught.value)
    assert (failure.reason, failure.message) == (
        Reason.STORAGE_FAULT,
        "the volume failed (OSError: [Errno 5] Input/output error: 'images/ab.png')",
    )


def test_an_unknown_exception_is_told_with_its_place_and_without_its_details() -> None:
    from finetune_trainer.train.gang.errors import explain

    with pytest.raises(ValueError, match="first line") as caught:
        fail()

    message = explain(caught.value).message
    assert message.startswith("ValueError: first line (at test_train_outcome.py:")
    assert "secret" not in message


def fail() -> None:
    raise ValueError("first line\nrow 7: a secret text")


def test_a_torchrun_that_was_killed_was_ended_from_outside() -> None:
    result = conclude([], exits={}, exit_code=-signal.SIGKILL, stop_requested=False, memory_kills=0)

    assert (result.reason, result.message) == (Reason.RANK_KILLED, "torchrun was ended from outside by SIGKILL")
