"""The spec's loss as the library's object."""

from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import cos_sim, dot_score

from finetune_api.reasons import Reason
from finetune_api.types import Loss
from finetune_trainer.failures import RunFailure

LOSSES: dict[str, type[torch.nn.Module]] = {
    "CachedMultipleNegativesRankingLoss": CachedMultipleNegativesRankingLoss,
    "MultipleNegativesRankingLoss": MultipleNegativesRankingLoss,
}
SIMILARITIES = {"cos_sim": cos_sim, "dot_score": dot_score}
#: Rows embedded at once under `mini_batch_size: auto`: larger ones only warm a CPU's caches less. On an accelerator
#: many rows make the loss stage cheap, and the token budget, which counts image tokens too, bounds the memory.
AUTO_CPU = {"mini_batch_size": 8}
AUTO_ACCELERATOR = {"mini_batch_size": 64, "mini_batch_num_tokens": 8192}


def build_loss(spec: Loss, model: SentenceTransformer, *, world_size: int) -> torch.nn.Module:
    """Return the loss, inside MatryoshkaLoss if dimensions are given.

    Raises:
        RunFailure: the library does not take an argument.

    """
    arguments = loss_arguments(spec, device=model.device, world_size=world_size)
    try:
        loss = LOSSES[spec.name](model, **arguments)
        if spec.matryoshka_dimensions:
            loss = MatryoshkaLoss(model, loss, list(spec.matryoshka_dimensions))
    except (TypeError, ValueError, KeyError) as error:
        raise RunFailure(Reason.INVALID_ARGUMENT, f"training.loss: {spec.name} was refused: {error}") from error
    return loss


def loss_arguments(spec: Loss, *, device: torch.device, world_size: int) -> dict[str, Any]:
    """Return the keyword arguments of the loss class.

    Unless stated, negatives are gathered from all ranks: N ranks with batch B then train exactly like one with N x B.
    """
    arguments: dict[str, Any] = {"gather_across_devices": world_size > 1, **spec.arguments}
    if spec.name == "CachedMultipleNegativesRankingLoss" and arguments.get("mini_batch_size", "auto") == "auto":
        automatic = AUTO_ACCELERATOR if device.type == "cuda" else AUTO_CPU
        arguments = {**automatic, **{name: value for name, value in arguments.items() if name != "mini_batch_size"}}
    if isinstance(arguments.get("similarity_fct"), str):
        arguments["similarity_fct"] = SIMILARITIES[arguments["similarity_fct"]]
    if "directions" in arguments:
        arguments["directions"] = tuple(arguments["directions"])
    return arguments
