"""One rank of finetune_trainer, with a stopwatch on the Trainer's loop; `benchmarks.training.gang` starts it."""

import os
import sys
from pathlib import Path

from transformers import Trainer

from benchmarks.training.outcome import ENV_FOLDER, RankRecord
from benchmarks.training.stopwatch import DATA_WAIT, STEP, Stopwatch
from finetune_trainer.train import rank


def main() -> int:
    """Train as a rank does; leave this rank's record in the folder that the environment names."""
    watch = Stopwatch()
    watch.time_method(Trainer, "get_batch_samples", DATA_WAIT)
    watch.time_method(Trainer, "training_step", STEP)
    code = rank.main()
    RankRecord.of_this_process(watch).write(Path(os.environ[ENV_FOLDER]))
    return code


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # as the trainer itself ends
