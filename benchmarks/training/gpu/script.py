"""The published script's steps alone: `python -m benchmarks.training.gpu.script RECIPE FOLDER STEPS SECONDS`."""

import contextlib
import sys
from pathlib import Path

from benchmarks.training.embedders import EmbedderRecipe
from benchmarks.training.meter import EnoughError, Meter
from benchmarks.training.outcome import RankRecord
from benchmarks.training.reference.embedder import build_trainer, load_model
from benchmarks.training.reference.shared import schedule, time_trainer


def main(recipe: EmbedderRecipe, folder: Path, *, num_steps: int, seconds: float) -> None:
    """Train until that is enough; leave in `folder` what was measured."""
    watch = time_trainer()
    meter = Meter(watch, num_steps=num_steps, seconds=seconds)
    steps_alone = {"eval_strategy": "no", "save_strategy": "no"}
    trainer = build_trainer(recipe, load_model(recipe), schedule(recipe, folder) | steps_alone)
    with contextlib.suppress(EnoughError):
        trainer.train()
    RankRecord.of_this_process(watch, meter.steps).write(folder)


if __name__ == "__main__":
    main(
        EmbedderRecipe.model_validate_json(Path(sys.argv[1]).read_bytes()),
        Path(sys.argv[2]),
        num_steps=int(sys.argv[3]),
        seconds=float(sys.argv[4]),
    )
