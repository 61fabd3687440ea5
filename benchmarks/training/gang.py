"""`python -m benchmarks.training.gang`: the trainer's `train` role, whose ranks carry a stopwatch."""

import os
import sys

from finetune_trainer.__main__ import main, quiet_libraries
from finetune_trainer.train import supervisor

PROGRAM = "benchmarks.training.rank"

if __name__ == "__main__":
    quiet_libraries(os.environ)  # type: ignore[arg-type]  # as the trainer itself does
    assert supervisor.TRAIN == "finetune_trainer.train.rank", "the timed program stands for another one than it should"
    supervisor.TRAIN = PROGRAM
    sys.exit(main(["train"], os.environ))
