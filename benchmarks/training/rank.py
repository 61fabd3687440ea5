"""One rank of finetune_trainer, with a stopwatch on the Trainer's loop; `benchmarks.training.gang` starts it."""

import math
import os
import signal
import sys
from pathlib import Path

from finetune_trainer.workspace.process import loading_libraries

with loading_libraries():  # as the trainer itself does
    from transformers import Trainer

    from benchmarks.training.meter import Meter
    from benchmarks.training.outcome import ENV_FOLDER, RankRecord
    from benchmarks.training.stopwatch import BASELINE, DATA_WAIT, STEP, Stopwatch
    from finetune_trainer.train import rank
    from finetune_trainer.train.evaluation.judge import Judge

#: After so many steps this rank is asked to end, as a pod is.
ENV_STOP_AFTER = "BENCHMARK_STOP_AFTER"


def main() -> int:
    """Train as a rank does; leave this rank's record in the folder that the environment names."""
    watch = Stopwatch()
    watch.time_method(Trainer, "get_batch_samples", DATA_WAIT)
    watch.time_method(Trainer, "training_step", STEP)
    watch.time_method(Judge, "measure_baseline", BASELINE)
    num_steps = float(os.environ.get(ENV_STOP_AFTER, math.inf))
    meter = Meter(watch, num_steps=num_steps, end=lambda: os.kill(os.getpid(), signal.SIGTERM))
    code = rank.main()
    RankRecord.of_this_process(watch, meter.steps).write(Path(os.environ[ENV_FOLDER]))
    return code


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # as the trainer itself ends
