"""The arguments of a loss as the library takes them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from finetune_api.losses import Kind
from finetune_api.objective import Loss
from finetune_trainer.recipe.losses.stated import Stated, stated_parts
from finetune_trainer.recipe.losses.table import LossEntry, entries, loss_entry
from finetune_trainer.recipe.losses.values import AUTO

TOKENS = "mini_batch_num_tokens"
#: Rows and tokens embedded at once under `mini_batch_size: auto`. On an accelerator many rows make the loss stage
#: cheap. The budget of tokens, those of images too, bounds the memory; a loss or a model that counts none is bounded by
#: rows.
AUTO_ACCELERATOR = {"mini_batch_size": 64, TOKENS: 8192}
AUTO_ACCELERATOR_ROWS = {"mini_batch_size": 32}
AUTO_CPU_ROWS = {"mini_batch_size": 8}
#: A CPU is busy with so many multiplications in a square layer; more at once are no faster.
CPU_MULTIPLICATIONS = 1536 * 64 * 64
#: Tokens are counted without padding; short rows beside a longer one take more.
CPU_ROWS, CPU_TOKENS = 16, 128


@dataclass(frozen=True)
class Part:
    """One loss and the arguments that are meant for it."""

    stated: Stated
    entry: LossEntry

    @property
    def name(self) -> str:
        """Return the class as the manifest calls it."""
        return self.stated.name

    @property
    def given(self) -> Mapping[str, Any]:
        """Return the arguments as the manifest has them."""
        return self.stated.given

    def read(self) -> dict[str, Any]:
        """Return the keyword arguments that are stated, as the class takes them; all of them have been checked."""
        return {argument: self.entry.arguments[argument].convert(value) for argument, value in self.given.items()}


@dataclass(frozen=True)
class ModelFacts:
    """What the arguments of a loss depend on in its model."""

    device: torch.device
    counts_tokens: Callable[[], bool] = lambda: True
    """Tells whether mini-batches can be bounded by tokens; asked only where that matters."""
    embedding_size: int | None = None
    """Stands for the width of its layers; None for a model that makes no embeddings."""


def parts_of(spec: Loss, kind: Kind) -> list[Part]:
    """Return the losses that `spec` is made of, outermost first, see recipe/losses/stated.py.

    Raises:
        KeyError: there is no such loss.

    """
    known = {name: entry.signature for name, entry in entries(kind).items()}
    return [Part(one, loss_entry(one.name, kind)) for one in stated_parts(spec, kind, known)]


def complete(
    values: Mapping[str, Any],
    entry: LossEntry,
    *,
    model: ModelFacts,
    world_size: int,
) -> dict[str, Any]:
    """Return the keyword arguments with those that a job need not state.

    Negatives are gathered from all ranks: N ranks with batch B then train exactly like one with N x B.

    Args:
        values: what the job states.
        entry: of the loss.
        model: that is trained.
        world_size: ranks that train together.

    Raises:
        ValueError: a bound in tokens is stated, and the model has none.

    """
    if values.get(TOKENS) and not model.counts_tokens():
        because = "the model takes inputs that are no tokens, as images of CLIP and ViT are"
        raise ValueError(f"{TOKENS}: {values[TOKENS]} is wrong because {because}; give mini_batch_size alone")
    arguments = {**entry.defaults, **values, **entry.fixed}
    if "gather_across_devices" in entry.arguments:
        arguments.setdefault("gather_across_devices", world_size > 1)
    if entry.cached and arguments.get("mini_batch_size", AUTO) == AUTO:
        stated = {name: value for name, value in arguments.items() if name != "mini_batch_size"}
        arguments = _automatic(entry, model) | stated
    return arguments


def _automatic(entry: LossEntry, model: ModelFacts) -> dict[str, Any]:
    is_bounded = TOKENS in entry.arguments and model.counts_tokens()
    if model.device.type == "cuda":
        return dict(AUTO_ACCELERATOR if is_bounded else AUTO_ACCELERATOR_ROWS)
    return automatic_on_cpu(model.embedding_size) if is_bounded else dict(AUTO_CPU_ROWS)


def automatic_on_cpu(embedding_size: int | None) -> dict[str, int]:
    """Return what a CPU embeds at once: the wider the model, the fewer tokens, down to those of a short row."""
    tokens = CPU_MULTIPLICATIONS // embedding_size**2 if embedding_size else 0
    return {"mini_batch_size": CPU_ROWS, TOKENS: max(CPU_TOKENS, tokens)}
