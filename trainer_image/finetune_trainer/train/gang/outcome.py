"""One result of many endings: what happened first in this pod, told from what happened because of it. Pure."""

import signal

from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_trainer.train.gang.records import RankRecord

#: Endings that follow from another rank's ending.
SECONDARY = (Reason.PEER_LOST, Reason.PREEMPTED)
GOOD = (Reason.TRAINED,)
WRITER = 0
KILLED = (-signal.SIGKILL, -signal.SIGTERM)


def conclude(  # noqa: PLR0913 - what may tell of an end
    records: list[RankRecord],
    *,
    exits: dict[int, int],
    exit_code: int,
    stop_requested: bool,
    memory_kills: int,
    has_watchdog: bool = False,
) -> RunResult:
    """Return how the pod ended, and how far training came if its writer ran here: others know of no checkpoints.

    Args:
        records: last words of the ranks of this pod.
        exits: exit codes of the ranks that failed first, as torchrun saw it, by rank; or that of the only one.
        exit_code: of torchrun, or of the only rank where it started without.
        stop_requested: the pod was asked to end.
        memory_kills: processes of this pod that the kernel killed for memory.
        has_watchdog: ranks talk over NCCL, which aborts a process that waits too long for the others.

    """
    result = _conclude(
        records,
        exits=exits,
        exit_code=exit_code,
        stop_requested=stop_requested,
        memory_kills=memory_kills,
        has_watchdog=has_watchdog,
    )
    told = next((one.result for one in records if one.rank == WRITER), None)
    writer = told or result
    work = told and told.work  # others do not know what is saved
    return result.model_copy(update={"progress": writer.progress, "checkpoint": writer.checkpoint, "work": work})


def _conclude(  # noqa: PLR0913 - as above
    records: list[RankRecord],
    *,
    exits: dict[int, int],
    exit_code: int,
    stop_requested: bool,
    memory_kills: int,
    has_watchdog: bool,
) -> RunResult:
    failures = sorted((one for one in records if one.result.reason not in GOOD), key=lambda one: one.time)
    primary = [one for one in failures if one.result.reason not in SECONDARY]
    silent = {rank: code for rank, code in exits.items() if rank not in {one.rank for one in records}}
    if primary:
        return failed(primary[0])
    if silent:
        rank, code = min(silent.items())
        return crashed(rank, code, memory_kills=memory_kills, has_watchdog=has_watchdog)
    if exit_code == 0 and not failures and records:
        return records[0].result
    return consequence(failures, exit_code=exit_code, stop_requested=stop_requested)


def failed(record: RankRecord) -> RunResult:
    """Return the record's result with its rank named."""
    rank = record.rank if record.rank >= 0 else None
    return record.result.model_copy(update={"failed_rank": rank})


def crashed(rank: int, code: int, *, memory_kills: int, has_watchdog: bool) -> RunResult:
    """Return the result for a rank that ended without a word."""
    if code == -signal.SIGKILL and memory_kills:
        reason, message = Reason.OUT_OF_MEMORY, f"rank {rank} was killed for using more memory than the pod may"
    elif code == -signal.SIGBUS:
        reason = Reason.OUT_OF_MEMORY
        message = f"rank {rank} got a bus error; most likely /dev/shm is full: raise resources.sharedMemory"
    elif code == -signal.SIGABRT and has_watchdog:
        reason = Reason.PEER_LOST
        message = f"rank {rank} was aborted, as NCCL does when another rank or the network is silent; read its log"
    elif code in KILLED:
        reason, message = Reason.RANK_KILLED, f"rank {rank} was ended from outside by {signal.Signals(-code).name}"
    else:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        reason, message = Reason.TRAINER_ERROR, f"rank {rank} ended with {how} before it could say why; read its log"
    return RunResult(role=Role.TRAIN, reason=reason, message=message, failed_rank=rank)


def consequence(failures: list[RankRecord], *, exit_code: int, stop_requested: bool) -> RunResult:
    """Return the result when nothing began in this pod: it was asked to end, or another pod ended."""
    preempted = [one for one in failures if one.result.reason is Reason.PREEMPTED]
    if preempted:
        return preempted[0].result
    if stop_requested:
        message = "asked to end before a new checkpoint could be saved"
        return RunResult(role=Role.TRAIN, reason=Reason.PREEMPTED, message=message)
    if failures:
        return failed(failures[0])
    if exit_code in KILLED:
        message = f"torchrun was ended from outside by {signal.Signals(-exit_code).name}"
        return RunResult(role=Role.TRAIN, reason=Reason.RANK_KILLED, message=message)
    message = f"torchrun ended with exit code {exit_code} and no rank said why; read the log"
    return RunResult(role=Role.TRAIN, reason=Reason.TRAINER_ERROR, message=message)
