"""Tokens that a manifest names as text: the words of yes and no between which a reranker decides."""

from typing import Any

import torch
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn

from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.inputs import MEDIA
from finetune_trainer.workspace.failures import RunFailure


def token_id(tokenizer: Any, text: object, *, path: str) -> int:  # noqa: ANN401 - a tokenizer of any library
    """Return the id of the one token that `text` is; raises RunFailure if it is none or several."""
    known = tokenizer.convert_tokens_to_ids(str(text))
    if known is not None and known != tokenizer.unk_token_id:
        return int(known)
    ids = tokenizer.encode(str(text), add_special_tokens=False)
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
        return int(ids[0])
    because = f"the tokenizer makes {len(ids)} tokens of it" if len(ids) > 1 else "the tokenizer does not know it"
    raise RunFailure(Reason.INVALID_ARGUMENT, f"{path}: {text!r} is wrong because {because}; name a single token")


def media_tokens(model: nn.Module) -> tuple[str, ...]:
    """Return the texts for which the model's processors expect an image, a video or a sound: a text with one fails."""
    processors = [module.processor for module in model.modules() if isinstance(module, Transformer)]
    found = [getattr(processor, f"{media}_token", None) for processor in processors for media in MEDIA]
    return tuple(dict.fromkeys(str(token) for token in found if token))


def embedding_difference(transformer: Transformer, *, true_id: int, false_id: int | None) -> torch.Tensor:
    """Return the embedding of the one token minus that of the other, shape (1, embedding size), in float32.

    A score is then about the log-odds of the two tokens, where input and output embeddings are tied.
    """
    rows = transformer.model.get_input_embeddings().weight.detach().float()
    difference = rows[true_id] if false_id is None else rows[true_id] - rows[false_id]
    shaped: torch.Tensor = difference.unsqueeze(0).clone()
    return shaped
