"""torchrun, which besides its one exit code leaves a note of how each rank ended: `python -m ...agent ARGUMENTS`."""

import sys
import time

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from finetune_api.contract import Role, RunResult
from finetune_trainer.train.gang.errors import explain
from finetune_trainer.train.gang.records import ExitStatuses, RankRecord, Records

TORCHRUN = -1


def main(arguments: list[str]) -> int:
    """Run torchrun; return 0 if every rank of this pod did."""
    records = Records.of_environment()
    assert records is not None, "started by the supervisor only"
    try:
        run.main(arguments)
    except ChildFailedError as error:
        records.write_exits(ExitStatuses(by_rank={rank: failure.exitcode for rank, failure in error.failures.items()}))
        return 1
    except Exception as error:  # noqa: BLE001 - the last word of this process
        failure = explain(error)
        result = RunResult(role=Role.TRAIN, reason=failure.reason, message=failure.message)
        records.write(RankRecord(rank=TORCHRUN, time=time.time(), result=result))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
