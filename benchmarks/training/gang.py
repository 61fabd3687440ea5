"""`python -m benchmarks.training.gang`: the trainer's `train` role, whose ranks carry a stopwatch."""

import os
import sys
from collections.abc import Mapping

from finetune_api.contract import RunConfig
from finetune_trainer import supervisor
from finetune_trainer.__main__ import main, quiet_libraries

PROGRAM = "finetune_trainer.train"
TIMED_PROGRAM = "benchmarks.training.rank"

_torchrun_arguments = supervisor.torchrun_arguments


def with_stopwatch(config: RunConfig, environment: Mapping[str, str]) -> list[str]:
    """Return torchrun's arguments with the timed program in the trainer's place."""
    *arguments, program = _torchrun_arguments(config, environment)
    assert program == PROGRAM, "the supervisor starts another program than this benchmark knows"
    return [*arguments, TIMED_PROGRAM]


if __name__ == "__main__":
    quiet_libraries(os.environ)  # type: ignore[arg-type]  # as the trainer itself does
    supervisor.torchrun_arguments = with_stopwatch
    sys.exit(main(["train"], os.environ))
