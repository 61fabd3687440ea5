"""One FinetuneJob for each of the trainer's ways, all of them on what was prepared once."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.training.gpu.ways import MAIN, Way
from benchmarks.training.launch import Ran, launch
from benchmarks.training.recipe import Recipe
from benchmarks.training.sides import build_config, lay_out
from finetune_api.contract import RunConfig, run_id
from finetune_api.types import Checkpoint, Evaluation
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.manifest import InputsManifest


def build_job(recipe: Recipe, way: Way) -> RunConfig:
    """Return the job of a way: evaluated at its beginning, with what the machine has instead of what a pod asks for."""
    config = build_config(recipe.model_copy(update={"dtype": way.dtype}), processes=1)
    changes = {
        "training": config.spec.training.model_copy(update={"sharding": way.sharding}),
        "evaluation": Evaluation(every="100%", baseline=way.evaluates),
        "checkpoint": Checkpoint(),
    }
    return config.model_copy(update={"spec": config.spec.model_copy(update=changes), "in_pods": False})


class Jobs:
    """Jobs of one recipe below one folder."""

    def __init__(self, recipe: Recipe, folder: Path, environment: Mapping[str, str]) -> None:
        self._recipe = recipe
        self._folder = folder
        self._environment = environment

    def prepare(self, *, seconds: float) -> Ran:
        """Lay out the inputs, in so many seconds."""
        environment = self._lay_out("prepared", build_job(self._recipe, MAIN))
        command = [sys.executable, "-m", "finetune_trainer", "prepare"]
        return launch(command, environment=environment, log=self._folder / "prepare.txt", seconds=seconds)

    def begin(self, name: str, way: Way) -> dict[str, str]:
        """Lend the inputs to a job that trains in this way; return the environment of its containers."""
        config = build_job(self._recipe, way)
        environment = self._lay_out(name, config)
        prepared, workspace = (Workspace(self._folder / one / "workspace") for one in ("prepared", name))
        shutil.copytree(prepared.inputs, workspace.inputs, copy_function=os.link)
        inputs = InputsManifest.read(workspace.manifest)
        own = {"spec_hash": config.spec_hash, "run": run_id(config.spec_hash, inputs.sources)}
        inputs.model_copy(update=own).write(workspace.manifest)
        return environment

    def _lay_out(self, name: str, config: RunConfig) -> dict[str, str]:
        place = self._folder / name
        return {
            **lay_out(self._recipe, place, Workspace(place / "workspace"), processes=1, config=config),
            **self._environment,
        }
