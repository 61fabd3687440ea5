# ruff: noqa: ANN401, ARG002 - signatures are the library's
"""Hugging Face's Trainer with what it does wrong or cannot do for us replaced; each override says why."""

import itertools
import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoderTrainer, SentenceTransformerTrainer
from sentence_transformers.base.trainer import BaseTrainer
from torch.distributed.tensor import DTensor
from torch.nn import Module, ParameterList
from transformers import set_seed
from transformers.trainer import TRAINER_STATE_NAME

from finetune_api.types import Sharding
from finetune_trainer.recipe.batches.mixture import MixedBatches
from finetune_trainer.recipe.batches.rows import SET
from finetune_trainer.recipe.model.pair_images import images_once
from finetune_trainer.train.checkpoints.parts import own_part
from finetune_trainer.train.gang.gathers import meeting_to_gather
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.loop.mini_batches import MiniBatches, RandomState, cached_loss
from finetune_trainer.train.loop.state import changing_buffers, named_weights, read_weights, remember, remembered
from finetune_trainer.train.weights.layout import lay_out
from finetune_trainer.train.weights.replicated import trained_parameters
from finetune_trainer.workspace.verify import read_manifest

MINI_BATCHES = "mini-batches.json"
#: What optimizer and scheduler go on with, besides tensors.
SCHEDULE = "schedule.pt"


class GangTrainer(BaseTrainer):  # type: ignore[misc]
    """Goes before a trainer of the library. Evaluating, saving and logging are decided by the Pacer."""

    def __init__(
        self,
        *,
        ranks: Ranks,
        sharding: Sharding,
        batches: MixedBatches,
        losses: dict[str, Module],
        warn: Callable[[str], None],
        **settings: Any,
    ) -> None:
        """Set up training.

        Args:
            ranks: of the gang.
            sharding: of the weights that are trained.
            batches: of all training sets.
            losses: by training set; sets may share one.
            warn: takes what the user should know of.
            **settings: of the library's trainer.

        """
        sole = next(iter(losses.values()))
        super().__init__(loss=losses if len(losses) > 1 else sole, **settings)
        self._ranks = ranks
        self.batches = batches
        distinct = list(dict.fromkeys(losses.values()))
        # The library has moved model and losses to the device, which FSDP2's shares would not follow.
        self.weights = lay_out(self.model, distinct, ranks=ranks, sharding=sharding)
        """How the ranks hold what is trained."""
        self.trained = trained_parameters(self.model, distinct)
        """What the optimizer changes, by name."""
        cached = {loss: cached_loss(loss) for loss in distinct}
        # Where weights do not fit, there is no room for graphs.
        settings = {"ranks": ranks, "warn": warn, "keeps_graphs": sharding != "Full"}
        mini_batches = {loss: MiniBatches(one, **settings) for loss, one in cached.items() if one}
        self._mini_batches = {name: mini_batches.get(loss) for name, loss in losses.items()}
        self._rows = {name: ranks.world_size * part for name, part in zip(losses, batches.rows_of_part, strict=True)}
        self._sole_set = next(iter(losses))
        self._tried: list[dict[str, Any]] = []
        self._random_state = RandomState.now(self.model.device)
        self.step_loss = torch.tensor(0.0)
        """Of this rank, in the newest optimizer step; the mean over its batches."""
        self.step_rows = 0
        """Of all ranks, in the newest step."""
        self.step_grad_norm = 0.0
        """Over all ranks, in the newest step, before clipping."""
        # Accelerate then leaves the model as it is, instead of wrapping it in DistributedDataParallel.
        self.is_distributed_loading_by_transformers = True

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: the library's card holds training images and queries. Publish writes a card without data."""

    def get_batch_sampler(self, dataset: Any, **settings: Any) -> MixedBatches:
        """Return our batches: the library's sampler without duplicates opens every image on every rank."""
        return self.batches

    def get_multi_dataset_batch_sampler(self, dataset: Any, **settings: Any) -> MixedBatches:
        """Return our batches: with the library's, ranks draw from different sets in one step."""
        return self.batches

    def _sync_replicated_trainable_parameters(self, model: Module) -> None:
        """Do nothing: weights are the same already, and the Trainer averages gradients before they are complete."""

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        """Do nothing: gradients are reduced once, after the last batch of a step. The Trainer's looks for a setting."""
        return nullcontext()

    def training_step(self, model: Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Add the gradient of one batch, in mini-batches that fit; after the last batch of a step average over ranks.

        When a batch does not fit, those before it in the same step are made again with it: the gradient that they
        left has been added to.
        """
        if not self._tried:
            self._random_state = RandomState.now(self.model.device)
            self.step_loss = torch.zeros((), device=self.args.device)
            self.weights.gather()
        self._tried.append(inputs)
        waiting = [inputs]
        while waiting:
            made = self._make(model, waiting[0])
            if made is None:
                self._start_step_again()
                waiting = list(self._tried)
            else:
                loss = made
                self.step_loss = self.step_loss + loss
                waiting = waiting[1:]
        if self.accelerator.sync_gradients:
            self.step_rows = sum(self._rows[self._set_of(batch)] for batch in self._tried)
            self._tried.clear()
            self.weights.average_gradients()
        return loss

    def _make(self, model: Module, inputs: dict[str, Any]) -> torch.Tensor | None:
        """Return the loss of one batch and add its gradient; None if memory ran out on a rank."""
        mini_batches = self._mini_batches[self._set_of(inputs)]

        def step() -> torch.Tensor:
            given = dict(inputs)  # the library takes it apart
            with meeting_to_gather(self._ranks):
                loss: torch.Tensor = super(GangTrainer, self).training_step(model, given)
            return loss

        return step() if mini_batches is None else mini_batches.run(step)

    def _set_of(self, inputs: dict[str, Any]) -> str:
        """Return the training set that a batch is of."""
        name: str = inputs.get(SET, self._sole_set)
        return name

    def _start_step_again(self) -> None:
        self.weights.forget_gradients()
        self.weights.gather()
        self._random_state.restore(self.model.device)
        self.step_loss = torch.zeros((), device=self.args.device)

    def _clip_grad_norm(self, model: Module) -> torch.Tensor:
        """Clip what losses train besides the model, too."""
        return whole_tensor(super()._clip_grad_norm(ParameterList(self.trained.values())))

    def _get_grad_norm(self, model: Module, grad_norm: Any = None) -> Any:
        """Keep the norm, for the Pacer to look at."""
        norm = whole_tensor(super()._get_grad_norm(ParameterList(self.trained.values()), grad_norm=grad_norm))
        self.step_grad_norm = float(norm)
        return norm

    @property
    def scales_less(self) -> bool:
        """Whether gradients that are too large for float16 make the loss be scaled less in the next step.

        The scale is found by trying, so that some steps are expected to be too large.
        """
        scaler = self.accelerator.scaler
        return scaler is not None and scaler.get_scale() > 1

    def part(self) -> dict[str, torch.Tensor]:
        """Return the tensors that this rank writes into a checkpoint, as they are: the next step changes them."""
        moments, _ = remembered(self.optimizer, self.trained)
        whole = {**named_weights(self.trained), **moments}
        part = own_part(whole, rank=self._ranks.rank, world_size=self._ranks.world_size)
        return part | changing_buffers(self.model) if self._ranks.is_writer else part

    def files(self) -> dict[str, bytes]:
        """Return the other files of a checkpoint by name; every rank calls this, as each has its own random state."""
        random_states = dict(
            itertools.chain(*(one.items() for one in self._ranks.gather(in_memory(self._save_rng_state))))
        )
        _, rest = remembered(self.optimizer, self.trained)
        sizes = {name: one.sizes for name, one in self._mini_batches.items() if one is not None}
        return {
            **random_states,
            **in_memory(self._save_scaler),
            **in_memory(lambda folder: self.state.save_to_json(f"{folder}/{TRAINER_STATE_NAME}")),
            **in_memory(
                lambda folder: torch.save({**rest, "scheduler": self.lr_scheduler.state_dict()}, f"{folder}/{SCHEDULE}")
            ),
            MINI_BATCHES: json.dumps(sizes).encode(),
        }

    def read_weights(self, folder: Path) -> None:
        """Read a checkpoint's weights into the model that is there."""
        read_weights(named_weights(self.trained) | changing_buffers(self.model), folder, group=self._ranks.control)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Read the weights in place; the library would build a second model beside the first."""
        folder = Path(resume_from_checkpoint)
        self.read_weights(folder)
        sizes = json.loads((folder / MINI_BATCHES).read_text())
        for name, one in self._mini_batches.items():
            if one is not None and name in sizes:
                one.take_on(sizes[name])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Go on with this rank's random numbers; another number of ranks draws new ones, as a training begins.

        They are the same on all ranks then: some losses draw what all ranks have to embed alike.
        """
        manifest = None if checkpoint is None else read_manifest(Path(checkpoint))
        if manifest is None or manifest.world_size == self._ranks.world_size:
            super()._load_rng_state(checkpoint)
        else:
            set_seed(self.args.seed + manifest.step)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Read what this rank has of it; the library reads one file, whole, on every rank."""
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        rest = torch.load(folder / SCHEDULE, weights_only=True)
        remember(self.optimizer, self.trained, folder, rest=rest, group=self._ranks.control)
        self.lr_scheduler.load_state_dict(rest["scheduler"])


def in_memory(write: Callable[[str], None]) -> dict[str, bytes]:
    """Return the small files that `write` writes into a folder, by name."""
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def whole_tensor(one: torch.Tensor) -> torch.Tensor:
    """Return a tensor that is sharded, or a sum that is still to be made over the ranks, as every rank's own."""
    whole: torch.Tensor = one.full_tensor() if isinstance(one, DTensor) else one
    return whole


class RetrievalTrainer(GangTrainer, SentenceTransformerTrainer):  # type: ignore[misc]
    """Trains embedding models."""


class RerankerTrainer(GangTrainer, CrossEncoderTrainer):  # type: ignore[misc]
    """Trains rerankers. Their losses preprocess pairs, again and again."""

    def training_step(self, model: Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Prepare each image once, however many pairs it is in."""
        with images_once(self.model):
            return super().training_step(model, inputs, num_items_in_batch)
