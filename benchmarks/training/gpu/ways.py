"""A few steps of the trainer's rank in one way after another: resumed, in other precisions, without kept graphs.

`python -m benchmarks.training.gpu.ways SECONDS DEADLINE FOLDER...`, all in one process, as starting one takes as
long as the steps. Each folder says how, in `way.json`; none is begun after the deadline.
"""

import gc
import os
import sys
import time
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import distributed

from benchmarks.training.meter import Meter
from benchmarks.training.outcome import RankRecord
from benchmarks.training.reference.shared import time_trainer
from finetune_api.types import Sharding
from finetune_trainer.train import rank
from finetune_trainer.train.loop import kept_graphs


class Way(BaseModel):
    """How the trainer makes its steps."""

    model_config = ConfigDict(frozen=True)

    name: str
    dtype: str
    sharding: Sharding
    keeps_graphs: bool = True
    evaluates: bool = False
    num_steps: int = 6
    environment: dict[str, str] = {}
    """Of the rank."""

    @property
    def without_graphs(self) -> "Way":
        """Return the same way, in which no graphs are kept."""
        return self.model_copy(update={"name": f"{self.name}, no graphs kept", "keeps_graphs": False})


#: What a job with `dtype: bfloat16` gets by default.
MAIN = Way(name="trainer, float32 in shares", dtype="bfloat16", sharding="Optimizer")
LIKE_SCRIPT = Way(name="trainer, bfloat16", dtype="bfloat16", sharding="None")
AUTOCAST = Way(name="trainer, float32 with autocast", dtype="float32", sharding="None")
#: In order of importance.
OTHERS = (LIKE_SCRIPT, MAIN.without_graphs, AUTOCAST, LIKE_SCRIPT.without_graphs, AUTOCAST.without_graphs)


def main(folders: list[Path], *, seconds: float, deadline: float) -> None:
    """Train in each way until that is enough; leave what was measured in its folder."""
    watch = time_trainer()
    meter = Meter(watch, seconds=seconds)
    spare_bytes = kept_graphs.spare_bytes
    for folder in folders:
        if time.time() > deadline:
            break
        way = Way.model_validate_json((folder / "way.json").read_bytes())
        kept_graphs.spare_bytes = spare_bytes if way.keeps_graphs else no_bytes
        os.environ.update(way.environment)
        meter.num_steps = way.num_steps
        meter.steps.clear()
        rank.main()
        RankRecord.of_this_process(watch, meter.steps).write(folder)
        forget()


def no_bytes(device: torch.device) -> int:  # noqa: ARG001 - as the function that it stands for
    """Return that nothing can be kept."""
    return 0


def forget() -> None:
    """Leave nothing of a training in this process."""
    gc.collect()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    given, until, *places = sys.argv[1:]
    main([Path(place) for place in places], seconds=float(given), deadline=float(until))
    sys.stdout.flush()
    os._exit(0)  # as a rank ends
