"""The program of one rank: takes the environment that torchrun gives it, trains, and leaves its last words.

Started by torchrun, which the supervisor starts, or by the supervisor itself where there is one rank alone.
"""

import contextlib
import logging
import os
import sys
import time
from pathlib import Path

from finetune_trainer.workspace.process import loading_libraries

with loading_libraries():
    import torch
    from transformers.utils.logging import disable_progress_bar

    from finetune_api import keys
    from finetune_api.contract import Role, RunConfig, RunResult
    from finetune_api.reasons import Reason
    from finetune_api.workspace import Workspace
    from finetune_trainer.recipe.batches.shared_memory import open_more_files
    from finetune_trainer.train.gang.errors import explain
    from finetune_trainer.train.gang.ranks import WRITER, join, leave
    from finetune_trainer.train.gang.records import RankRecord, Records
    from finetune_trainer.train.gang.stacks import tell_stacks
    from finetune_trainer.train.gang.stop import StopRequest
    from finetune_trainer.train.report.telemetry import serve_telemetry
    from finetune_trainer.train.report.tracker import Tracker
    from finetune_trainer.train.session import Session
    from finetune_trainer.train.train import train
    from finetune_trainer.workspace import logs
    from finetune_trainer.workspace.failures import RunFailure
    from finetune_trainer.workspace.kept_log import speak_as_rank
    from finetune_trainer.workspace.own_inputs import read_own_inputs

logger = logging.getLogger(__name__)


def main() -> int:
    """Train as the environment says; leave a record of the end for the supervisor and return the exit code."""
    rank, attempt = int(os.environ.get("RANK", "0")), int(os.environ[keys.ENV_ATTEMPT])
    if int(os.environ.get("LOCAL_RANK", "0")):
        speak_as_rank(rank)
    configure_logs(rank=rank)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    open_more_files()
    records = Records.of_environment()
    stop = StopRequest(records.stop_file if records else None)
    stop.listen()
    if records is not None:
        tell_stacks(records, rank=rank)
    tracker = Tracker(attempt=attempt)
    try:
        result = run(tracker, rank=rank, stop=stop, records=records)
    except Exception as error:  # noqa: BLE001 - the last word of this process
        failure = explain(error)
        log_end(error, failure, rank=rank)
        result = failed_result(failure, tracker)
    if records is not None:
        records.write(RankRecord(rank=rank, time=time.time(), result=result))
    # A preempted rank has done its part; a failure code would make torchrun end the other ranks before theirs.
    return 0 if result.reason in (Reason.TRAINED, Reason.PREEMPTED) else 1


def failed_result(failure: RunFailure, tracker: Tracker) -> RunResult:
    """Return how this rank ended, and how far it came."""
    told = tracker.read()
    return RunResult(
        role=Role.TRAIN,
        reason=failure.reason,
        message=failure.message,
        attempt=tracker.attempt,
        progress=told.progress,
        checkpoint=told.checkpoint,
        work=told.work,
    )


def log_end(error: Exception, failure: RunFailure, *, rank: int) -> None:
    """Log how this rank ended; with a traceback only if that is a mistake of ours, as far as one can tell."""
    fields = {"rank": rank, "reason": failure.reason, "detail": failure.message}
    if failure.reason is Reason.PREEMPTED:
        logger.info("rank ended", extra=fields)
    elif failure.reason is Reason.TRAINER_ERROR and not isinstance(error, RunFailure):
        logger.error("rank failed", extra=fields, exc_info=error)
    else:
        logger.error("rank failed", extra=fields)


def configure_logs(*, rank: int) -> None:
    """Log JSON lines; ranks other than the writer only what went wrong, as all of them do the same."""
    logs.configure(Role.TRAIN, logs.redaction([]))
    logging.getLogger().setLevel(logging.INFO if rank == WRITER else logging.ERROR)
    for library in ("sentence_transformers", "transformers", "accelerate", "datasets", "torch", "py.warnings"):
        logging.getLogger(library).setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        disable_progress_bar()


def run(tracker: Tracker, *, rank: int, stop: StopRequest, records: Records | None) -> RunResult:
    """Meet the gang, serve telemetry on the writer, and train."""
    config = RunConfig.model_validate_json(Path(os.environ[keys.ENV_RUN_CONFIG]).read_bytes())
    tracker.job_uid = config.job.uid
    workspace = Workspace(Path(os.environ[keys.ENV_WORKSPACE]))
    port = int(os.environ.get(keys.ENV_TELEMETRY_PORT, str(keys.TELEMETRY_PORT)))
    with serve_telemetry(tracker, port=port) if rank == WRITER else contextlib.nullcontext():
        ranks = join(config)
        tracker.num_processes = ranks.world_size
        if records is not None:
            records.met_file.touch()
        own = read_own_inputs(workspace, config).run
        result = train(Session(config, workspace, tracker.attempt, ranks, tracker, stop, own))
        leave(ranks)
    return result


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a process group whose peers are gone would wait for them while Python takes it down
