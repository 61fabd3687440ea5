"""Levers of evaluation: all dimensions from one pass, pages shared among ranks as paths, a baseline that is kept."""

import sys
from pathlib import Path

from benchmarks.training.launch import launch
from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.setting import Setting
from benchmarks.training.sides import ENVIRONMENT
from finetune_trainer.train.evaluation.baseline import read_baseline, write_baseline
from finetune_trainer.train.evaluation.encode import Encoder
from finetune_trainer.train.evaluation.evaluate import Evaluation, measure
from finetune_trainer.train.evaluation.shares import Shares
from finetune_trainer.train.gang.ranks import Ranks

METRIC = "ndcg@10"
BATCH_SIZE = 16


def measure_dimensions(setting: Setting) -> list[Finding]:
    """One encoding for all dimensions against one encoding for each."""
    encoder = encoder_of(setting)
    dimensions = setting.recipe.dimensions
    together = Evaluation(setting.held_out, (METRIC,), dimensions)
    apart = [Evaluation(setting.held_out, (METRIC,), (dimension,)) for dimension in dimensions]
    off, on = seconds_of(
        lambda: [measure([one], encoder) for one in apart], lambda: measure([together], encoder), rounds=1
    )
    note = "tests/trainer/test_evaluation.py compares the scores with the library's"
    return [Finding(f"one pass for {len(dimensions)} dimensions", "s", off, on, note)]


def measure_sharding(setting: Setting) -> list[Finding]:
    """Two ranks against one, and against the library's sharding of pages in memory; seconds of the evaluation."""
    folder = setting.workspace.root.parent / "sharding"
    seconds = {}
    for way, processes in (("paths", 1), ("paths", 2), ("images", 1), ("images", 2)):
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        program = ["--module", "benchmarks.training.levers.sharded", way, str(folder), str(setting.workspace.root)]
        log = folder / f"{way}-{processes}.txt"
        launch([sys.executable, *torchrun, *program], environment=ENVIRONMENT, log=log)
        seconds[way, processes] = float((folder / "seconds").read_text())
    return [
        Finding("evaluation on 2 ranks, pages as paths", "s", seconds["paths", 1], seconds["paths", 2]),
        Finding("the same as the library does it, pages in memory", "s", seconds["images", 1], seconds["images", 2]),
    ]


def measure_baseline(setting: Setting) -> list[Finding]:
    """A baseline that an earlier attempt has measured against measuring it again."""
    encoder, evaluation = encoder_of(setting), Evaluation(setting.held_out, (METRIC,), setting.recipe.dimensions)
    path = Path(setting.workspace.baseline)
    write_baseline(path, measure([evaluation], encoder), run="benchmark")
    off, on = seconds_of(lambda: measure([evaluation], encoder), lambda: read_baseline(path, run="benchmark"))
    return [Finding("baseline of an earlier attempt", "s", off, on, "pays when a gang is restarted")]


def encoder_of(setting: Setting) -> Encoder:
    """Return the encoder of one process."""
    return Encoder(setting.model, setting.reader, Shares(Ranks(), batch_size=BATCH_SIZE))
