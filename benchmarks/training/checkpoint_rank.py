"""One rank of the benchmark of checkpoints: saves made-up weights a few times."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import distributed

from finetune_api.workspace import Workspace
from finetune_trainer.train.checkpoints.parts import own_part
from finetune_trainer.train.checkpoints.store import CheckpointStore
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.loop.saver import Saver
from finetune_trainer.train.report.tracker import Tracker
from finetune_trainer.workspace.fence import Fence, Owner

NUM_TENSORS = 96
TIMES = 4


def main(folder: Path, megabytes: int) -> None:
    """Print bytes and seconds as JSON: the least, as the first checkpoint makes room for the copy."""
    torch.set_num_threads(1)
    ranks = meet()
    size = megabytes * 10**6 // (4 * NUM_TENSORS)
    tensors = {f"weights.{number}": torch.full((size,), float(number)) for number in range(NUM_TENSORS)}
    part = own_part(tensors, rank=ranks.rank, world_size=ranks.world_size)
    fence = Fence(Workspace(folder), Owner(run="run", namespace="n", name="name", uid="uid", attempt=1))
    store = CheckpointStore(folder / "checkpoints", fence=fence, keep=1, run="run", world_size=ranks.world_size)
    trainer: Any = SimpleNamespace(part=lambda: part, files=dict)
    session: Any = SimpleNamespace(tracker=Tracker(attempt=1), ranks=ranks)
    paused, saved = [], []
    with (
        fence.held() if ranks.is_writer else contextlib.nullcontext(),
        Saver(session, trainer, store, in_background=True) as saver,
    ):
        for step in range(TIMES):
            ranks.share(None)
            begun = time.perf_counter()
            saver.save(step)
            paused.append(time.perf_counter() - begun)
            saver.finish()
            saved.append(time.perf_counter() - begun)
    seconds = {"pause_seconds": min(paused), "save_seconds": min(saved)}
    print(json.dumps({"part_bytes": sum(one.nbytes for one in part.values()), **seconds}))


def meet() -> Ranks:
    """Return this rank of the gang that the environment names."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world_size == 1:
        return Ranks()
    distributed.init_process_group("gloo")
    control, background = (distributed.new_group(backend="gloo") for _ in range(2))
    assert isinstance(control, distributed.ProcessGroup)
    assert isinstance(background, distributed.ProcessGroup)
    return Ranks(rank=rank, world_size=world_size, control=control, background=background)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
