"""Whether mini-batches of a model can be bounded by tokens: not where images have no tokens, as in CLIP and ViT."""

from collections.abc import Iterator
from typing import Any

from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router

from finetune_trainer.recipe.model.load import modality_names

#: What tells the library how many tokens each row has.
COUNTS = frozenset({"attention_mask", "cu_seq_lens_q"})
_PROBES: dict[str, Any] = {"text": "a", "image": Image.new("RGB", (64, 64))}


def counts_tokens(model: SentenceTransformer | CrossEncoder) -> bool:
    """Tell whether the features of whatever `model` takes say how many tokens each row has."""
    return all(not COUNTS.isdisjoint(features) for features in _features(model))


def _features(model: SentenceTransformer | CrossEncoder) -> Iterator[dict[str, Any]]:
    first = model[0]
    parts = [route[0] for route in first.sub_modules.values()] if isinstance(first, Router) else [model]
    for part in parts:
        known = modality_names(model) if part is model else part.modalities
        for modality, probe in _PROBES.items():
            if modality in known:
                yield part.preprocess([probe])
