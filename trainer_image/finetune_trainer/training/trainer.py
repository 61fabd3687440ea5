# ruff: noqa: ANN401, ARG002 - signatures are the library's
"""Hugging Face's Trainer with what it does wrong or cannot do for us replaced; each override says why."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from sentence_transformers import SentenceTransformerTrainer
from transformers.trainer import TRAINER_STATE_NAME

from finetune_trainer.distributed.ranks import Ranks
from finetune_trainer.training.sampler import DistinctBatches

WEIGHTS = "model.safetensors"


class RetrievalTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """Trains; evaluating, saving and logging are decided by the Pacer."""

    def __init__(self, *, ranks: Ranks, batches: DistinctBatches, **settings: Any) -> None:
        super().__init__(**settings)
        self._ranks = ranks
        self.batches = batches
        self.step_loss = torch.tensor(0.0)
        """Of this rank, in the newest step."""
        self.step_grad_norm = 0.0
        """Over all ranks, in the newest step, before clipping."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: the library's card holds training images and queries. Publish writes a card without data."""

    def get_batch_sampler(self, dataset: Any, **settings: Any) -> DistinctBatches:
        """Return our batches: the library's sampler without duplicates opens every image on every rank."""
        return self.batches

    def training_step(self, *arguments: Any, **settings: Any) -> torch.Tensor:
        """Keep the loss, for the Pacer to look at."""
        self.step_loss = super().training_step(*arguments, **settings)
        return self.step_loss

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        """Keep the norm, for the Pacer to look at."""
        norm: torch.Tensor = super()._clip_grad_norm(model)
        self.step_grad_norm = float(norm)
        return norm

    def write_state(self, folder: Path | None) -> None:
        """Write everything that a resumed training needs into `folder`; every rank calls it, only the writer has one.

        The Trainer's own method lets every rank write, into a folder that is visible before it is whole. Random states
        are gathered, so that there is one writer.
        """
        random_states = self._ranks.gather(self._random_state())
        if folder is None:
            return
        save_model(self.model, str(folder / WEIGHTS))
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        for name, content in random_states:
            (folder / name).write_bytes(content)
        self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

    def _random_state(self) -> tuple[str, bytes]:
        """Return this rank's random state as the file that the Trainer reads again."""
        with tempfile.TemporaryDirectory() as folder:
            self._save_rng_state(folder)
            (file,) = Path(folder).iterdir()
            return file.name, file.read_bytes()

    def read_weights(self, folder: Path) -> None:
        """Read a checkpoint's weights into the model that is there."""
        load_model(self.model, folder / WEIGHTS, device=str(self.model.device))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Read the weights in place; the library would build a second model beside the first."""
        self.read_weights(Path(resume_from_checkpoint))
