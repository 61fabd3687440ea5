"""Data loader processes on a CPU: they take the cores that the model computes on."""

import time

from torch.utils.data import DataLoader

from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.mini_batch import build, collator, split_columns, step
from benchmarks.training.levers.setting import Setting
from finetune_trainer.recipe.batches.rows import read_rows
from finetune_trainer.recipe.losses.arguments import automatic_on_cpu

STEPS = 3


def measure_workers(setting: Setting) -> list[Finding]:
    """Seconds of a few steps, loading included, without and with loader processes; one rank on all cores."""
    rows = read_rows(setting.workspace, setting.train).select(range(STEPS * setting.recipe.batch_size))
    loss = build(setting, **automatic_on_cpu(setting.model.get_embedding_dimension()))

    def train(workers: int) -> None:
        batches = DataLoader(rows, setting.recipe.batch_size, collate_fn=collator(setting), num_workers=workers)
        for batch in batches:
            step(setting.model, loss, split_columns(setting, batch))()

    off, one, two = seconds_of(lambda: train(0), lambda: train(1), lambda: train(2), clock=time.perf_counter)
    return [
        Finding(f"{number} loader process(es), 1 rank", f"s per {STEPS} steps", off, seconds)
        for number, seconds in ((1, one), (2, two))
    ]
