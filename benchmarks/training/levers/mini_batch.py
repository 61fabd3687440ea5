# ruff: noqa: N806 - tensors carry their shape in their names
"""Rows embedded at once in the cached loss: one, as the recipe says, against what the trainer chooses.

Shapes: B rows, D embedding dimensions.
"""

from collections.abc import Callable

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MatryoshkaLoss

from benchmarks.training.embedders import PUBLISHED_DIMENSIONS
from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.setting import Setting
from finetune_trainer.recipe.batches.rows import RowCollator, RowReader, read_rows
from finetune_trainer.recipe.losses.arguments import AUTO_ACCELERATOR, automatic_on_cpu

SIZES: tuple[dict[str, int], ...] = (
    {"mini_batch_size": 4},
    {"mini_batch_size": 8},
    {"mini_batch_size": 16},
    {"mini_batch_size": 32},
    {"mini_batch_size": 64, "mini_batch_num_tokens": 512},
    {"mini_batch_size": 64, "mini_batch_num_tokens": 1024},
    {"mini_batch_size": 64, "mini_batch_num_tokens": 2048},
)


def measure_mini_batch(setting: Setting) -> list[Finding]:
    """Forward and backward of one step with mini-batches of one row against larger ones."""
    features = features_of_one_step(setting)
    chosen = automatic_on_cpu(setting.model.get_embedding_dimension())
    sizes = (*SIZES, chosen)
    one = build(setting, mini_batch_size=1)
    others = [build(setting, **size) for size in sizes]
    off, *on = seconds_of(*(step(setting.model, loss, features) for loss in (one, *others)))
    return [
        Finding(
            f"mini-batch of {describe(size)} instead of 1",
            "s per step",
            off,
            seconds,
            f"gradients differ by {gradient_difference(setting, one, other, features):.1g}"
            + (", the trainer's choice on CPU" if size == chosen else ""),
        )
        for size, other, seconds in zip(sizes, others, on, strict=True)
    ]


def describe(size: dict[str, int]) -> str:
    """Return the arguments of a loss in words."""
    tokens = size.get("mini_batch_num_tokens")
    return f"{size['mini_batch_size']} rows" + (f", {tokens} tokens" if tokens else "")


def build(setting: Setting, **arguments: int) -> torch.nn.Module:
    """Return the recipe's loss with these arguments."""
    inner = CachedMultipleNegativesRankingLoss(setting.model, **arguments)
    loss: torch.nn.Module = MatryoshkaLoss(setting.model, inner, list(setting.recipe.dimensions))
    return loss


def features_of_one_step(setting: Setting) -> list[dict[str, torch.Tensor]]:
    """Return the model inputs of one batch, one dictionary per column."""
    rows = read_rows(setting.workspace, setting.train).select(range(setting.recipe.batch_size))
    return split_columns(setting, collator(setting)(list(rows)))


def collator(setting: Setting) -> RowCollator:
    """Return what makes model inputs of rows."""
    return RowCollator(rows=RowReader(setting.reader, [setting.train]), preprocess_fn=setting.model.preprocess)


def split_columns(setting: Setting, batch: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Return the model inputs of each column, as a loss takes them."""
    prefixes = [f"{column.name}_" for column in setting.train.columns]
    return [
        {name.removeprefix(prefix): value for name, value in batch.items() if name.startswith(prefix)}
        for prefix in prefixes
    ]


def step(
    model: SentenceTransformer, loss: torch.nn.Module, features: list[dict[str, torch.Tensor]]
) -> Callable[[], None]:
    """Return one forward and backward pass."""

    def run() -> None:
        model.zero_grad()
        loss([dict(column) for column in features], None).backward()

    return run


def gradient_difference(
    setting: Setting, one: torch.nn.Module, other: torch.nn.Module, features: list[dict[str, torch.Tensor]]
) -> float:
    """Return the length of the difference of both gradients, relative to the gradient's own."""
    gradients = []
    for loss in (one, other):
        step(setting.model, loss, features)()
        found = [weight.grad.flatten() for weight in setting.model.parameters() if weight.grad is not None]
        gradients.append(torch.cat(found))
    return float((gradients[0] - gradients[1]).norm() / gradients[0].norm())


def measure_loss_stage(setting: Setting) -> list[Finding]:
    """The loss of given embeddings at the published size: 64 rows, one negative each, 2048 dimensions cut seven times.

    The mini-batch size also cuts this stage into pieces, whatever budget of tokens bounds the embedding.
    """
    whole_BD = [torch.nn.functional.normalize(torch.randn(64, PUBLISHED_DIMENSIONS[0]), dim=1) for _ in range(3)]

    def stage(size: int) -> Callable[[], None]:
        loss = CachedMultipleNegativesRankingLoss(setting.model, mini_batch_size=size)

        def run() -> None:
            for dimension in PUBLISHED_DIMENSIONS:
                pieces = [torch.split(column_BD[:, :dimension], size) for column_BD in whole_BD]
                loss.calculate_loss(
                    [[piece.clone().requires_grad_() for piece in column] for column in pieces], with_backward=True
                )

        return run

    sizes = (8, 16, AUTO_ACCELERATOR["mini_batch_size"])
    off, *on = seconds_of(stage(1), *(stage(size) for size in sizes))
    return [
        Finding(f"loss stage with mini-batch {size} instead of 1", "s per step", off, seconds)
        for size, seconds in zip(sizes, on, strict=True)
    ]
