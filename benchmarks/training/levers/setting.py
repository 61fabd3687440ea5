"""The small scale with fewer rows, prepared by the trainer: what all levers are measured on."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from benchmarks.training.embedders import EmbedderRecipe
from benchmarks.training.launch import launch
from benchmarks.training.sides import build_config, lay_out
from benchmarks.training.small import build_small
from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.train.evaluation.dataset import RetrievalSet, load_retrieval_set
from finetune_trainer.workspace.manifest import InputsManifest, PreparedTrain

ROWS, HELD_OUT = 160, 32


@dataclass(frozen=True)
class Setting:
    """Prepared inputs and the loaded base model."""

    recipe: EmbedderRecipe
    config: RunConfig
    workspace: Workspace
    inputs: InputsManifest
    model: SentenceTransformer
    reader: InputReader

    @property
    def train(self) -> PreparedTrain:
        """Return the one training set."""
        (prepared,) = self.inputs.train
        return prepared

    @property
    def held_out(self) -> RetrievalSet:
        """Return the evaluation set."""
        return load_retrieval_set(self.workspace, self.inputs.evaluations[0])


def build_setting(folder: Path) -> Setting:
    """Build and prepare the inputs below `folder`."""
    torch.set_num_threads(1)
    recipe = build_small(folder, rows=ROWS, held_out=HELD_OUT)
    workspace = Workspace(folder / "workspace")
    environment = lay_out(recipe, folder, workspace, processes=1)
    launch([sys.executable, "-m", "finetune_trainer", "prepare"], environment=environment, log=folder / "prepare.txt")
    model = SentenceTransformer(str(workspace.base_model), device="cpu", processor_kwargs=recipe.processor_kwargs)
    return Setting(
        recipe=recipe,
        config=build_config(recipe, processes=1),
        workspace=workspace,
        inputs=InputsManifest.read(workspace.manifest),
        model=model,
        reader=InputReader.of(model, images=workspace.images),
    )
