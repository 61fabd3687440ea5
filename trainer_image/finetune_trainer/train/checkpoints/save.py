"""Writes the model as users load it."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_trainer.recipe.model.adapters import merged
from finetune_trainer.recipe.model.precision import float32_scores
from finetune_trainer.train.checkpoints.served import add_for_servers


def save_model(model: SentenceTransformer | CrossEncoder, folder: Path) -> None:
    """Write the model into `folder`, for SentenceTransformer, CrossEncoder or a server to load as it is.

    Adapters are merged into copies of the weights; the model in memory stays as it is. The library's card is left
    out, because it would hold rows of data.
    """
    with merged(model), _scores_as_measured(model):
        model.save_pretrained(str(folder), create_model_card=False)
    add_for_servers(model, folder)


def _scores_as_measured(model: SentenceTransformer | CrossEncoder) -> AbstractContextManager[None]:
    """Let a reranker of less than float32 be written as one whose scores are float32, as they were in evaluation."""
    is_float32 = next(model.parameters()).dtype == torch.float32
    return float32_scores(model) if isinstance(model, CrossEncoder) and not is_float32 else nullcontext()
