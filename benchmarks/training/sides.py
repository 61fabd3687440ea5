"""The two sides of the comparison: each trains one recipe on so many processes and tells what it took."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.training.launch import Ran, launch
from benchmarks.training.outcome import ENV_FOLDER, Outcome, RankRecord
from benchmarks.training.recipe import Recipe
from benchmarks.training.stopwatch import BASELINE, DATA_WAIT, EVALUATION, LOAD, LOOP, SAVE, STEP
from finetune_api import keys
from finetune_api.contract import JobIdentity, RunConfig
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.report import Report

PREPARE = "prepare"
PHASES = (PREPARE, LOAD, BASELINE, DATA_WAIT, STEP, LOOP, EVALUATION, SAVE)
#: The same for both sides: one thread per process, nothing from the network.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


class Measured(BaseModel):
    """One run of one side."""

    model_config = ConfigDict(frozen=True)

    total_seconds: float
    """From the start of the first process to the end of the last one, preparing included."""
    cpu_seconds: float
    """What all processes computed, in total."""
    phases: dict[str, float]
    """Seconds of rank 0; they add up to the total."""
    ranks_peak_bytes: int
    """Highest resident memory of each training process, added up."""
    device_peak_bytes: int = 0
    """Highest memory of tensors on the accelerators, added up; 0 without one."""
    tree_peak_bytes: int
    """Highest resident memory of all processes together."""
    outcome: Outcome

    @property
    def training_seconds(self) -> float:
        """Return the total without preparing, which needs no accelerator."""
        return self.total_seconds - self.phases[PREPARE]


def run_reference(recipe: Recipe, folder: Path, *, processes: int) -> Measured:
    """Run the plain script, under torchrun where it is to use several processes."""
    folder.mkdir(parents=True)
    job = folder / "recipe.json"
    job.write_text(recipe.model_dump_json())
    script = ["--module", recipe.script, str(job), str(folder)]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *script]
    command = [sys.executable, *(torchrun if processes > 1 else ["-m", *script[1:]])]
    ran = launch(command, environment=ENVIRONMENT | caches(folder), log=folder / "log.txt")
    return measure(ran, RankRecord.read_all(folder), Outcome.read(folder), stages={})


def run_trainer(recipe: Recipe, folder: Path, *, processes: int) -> Measured:
    """Run prepare and train, as the pods of a FinetuneJob do."""
    workspace = Workspace(folder / "workspace")
    environment = lay_out(recipe, folder, workspace, processes=processes)
    prepare = [sys.executable, "-m", "finetune_trainer", "prepare"]
    prepared = launch(prepare, environment=environment, log=folder / "prepare.txt")
    train = [sys.executable, "-m", "benchmarks.training.gang"]
    ran = launch(train, environment=environment, log=folder / "train.txt")
    report = Report.read(workspace.report)
    return measure(ran, RankRecord.read_all(folder), read_outcome(report), stages=report.seconds, prepared=prepared)


def measure(
    ran: Ran, ranks: list[RankRecord], outcome: Outcome, *, stages: dict[str, float], prepared: Ran | None = None
) -> Measured:
    """Return one run's figures; what no phase accounts for is loading, starting and ending."""
    own = dict(ranks[0].seconds)
    if stages:
        training = stages["Training"] - own[DATA_WAIT] - own[STEP]
        own |= {BASELINE: stages["Baseline"], LOOP: training, EVALUATION: stages["Evaluating"], SAVE: stages["Saving"]}
    phases = {PREPARE: prepared.seconds if prepared else 0.0, LOAD: ran.seconds - sum(own.values()), **own}
    return Measured(
        total_seconds=ran.seconds + phases[PREPARE],
        cpu_seconds=ran.cpu_seconds + (prepared.cpu_seconds if prepared else 0),
        phases=phases,
        ranks_peak_bytes=sum(rank.peak_bytes for rank in ranks),
        device_peak_bytes=sum(rank.device_peak_bytes for rank in ranks),
        tree_peak_bytes=max(ran.peak_bytes, prepared.peak_bytes if prepared else 0),
        outcome=outcome,
    )


def read_outcome(report: Report) -> Outcome:
    """Return what the report says of the model after the last step, which need not be the best one."""
    assert report.metrics.score is not None, "every recipe has an evaluation set"
    (score,) = (one for one in report.evaluations if one.metric == "ndcg@10")
    assert score.baseline is not None, "every recipe measures the baseline"
    return Outcome(
        baseline=score.baseline,
        final=report.metrics.score,
        dimensions={one.dimension: one.final for one in score.dimensions if one.final is not None},
        losses={point.step: point.loss for point in report.curve if point.loss is not None},
    )


def lay_out(
    recipe: Recipe, folder: Path, workspace: Workspace, *, processes: int, config: RunConfig | None = None
) -> dict[str, str]:
    """Make the volumes and the mounted files of a job; return the environment of its containers."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    (sources / "model").symlink_to(recipe.model.resolve())
    (sources / "dataset").symlink_to(recipe.dataset.resolve())
    workspace.root.mkdir()
    run_config = folder / "run.json"
    run_config.write_text((config or build_config(recipe, processes=processes)).model_dump_json(by_alias=True))
    return {
        **ENVIRONMENT,
        **caches(folder),
        keys.ENV_RUN_CONFIG: str(run_config),
        keys.ENV_WORKSPACE: str(workspace.root),
        keys.ENV_CLAIM_SOURCES: str(sources),
        keys.ENV_TERMINATION_MESSAGE: str(folder / "termination.json"),
        keys.ENV_TELEMETRY_PORT: "0",
        keys.ENV_ATTEMPT: "1",
        ENV_FOLDER: str(folder),
    }


def caches(folder: Path) -> dict[str, str]:
    """Return where libraries keep their caches: each run starts with empty ones."""
    return {"HF_HOME": str(folder / "huggingface")}


def build_config(recipe: Recipe, *, processes: int) -> RunConfig:
    """Return the recipe as the operator hands it to the trainer."""
    train, held_out = recipe.train, recipe.evaluation
    spec: dict[str, Any] = {
        "model": {
            "kind": recipe.kind,
            "source": "pvc://model",
            "dtype": recipe.dtype,
            "processorKwargs": recipe.processor_kwargs,
        },
        "data": {
            "train": [
                {
                    "name": "pages",
                    "source": "pvc://dataset",
                    "subset": train.subset,
                    "split": train.split,
                    "limit": recipe.rows,
                    "columns": recipe.train_columns(),
                }
            ],
            "evaluation": [
                {
                    "name": "held-out",
                    "source": "pvc://dataset",
                    "subset": held_out.subset,
                    "split": held_out.split,
                    "columns": recipe.evaluation_columns(),
                }
            ],
        },
        "training": {
            "loss": recipe.loss(),
            "perDeviceTrainBatchSize": recipe.batch_size // processes,
            "learningRate": recipe.learning_rate,
            "warmupRatio": recipe.warmup_ratio,
            "seed": recipe.seed,
        },
        "evaluation": {"every": "10%"},
        "resources": {
            "accelerator": {"perNode": processes},
            "requests": {"cpu": str(processes if not recipe.accelerator else os.cpu_count())},
        },
        "checkpoint": {"everySteps": recipe.save_every, "keep": 2},
    }
    return RunConfig(
        job=JobIdentity(namespace="benchmark", name="training", uid="benchmark"),
        spec=FinetuneJobSpec.model_validate(spec),
        simulated_accelerator=not recipe.accelerator,
    )


def discard(folder: Path) -> None:
    """Remove what a run left."""
    shutil.rmtree(folder, ignore_errors=True)
