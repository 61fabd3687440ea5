"""The classes that spec.model.modules names, and which of their arguments a manifest may give."""

import inspect
from collections.abc import Callable, Sequence

from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import (
    CLIPModel,
    Dense,
    Dropout,
    LayerNorm,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
    WeightedLayerPooling,
)
from torch import nn

CLASSES: dict[str, type[nn.Module]] = {
    "Transformer": Transformer,
    "CLIPModel": CLIPModel,
    "StaticEmbedding": StaticEmbedding,
    "Pooling": Pooling,
    "WeightedLayerPooling": WeightedLayerPooling,
    "Dense": Dense,
    "Normalize": Normalize,
    "LayerNorm": LayerNorm,
    "Dropout": Dropout,
    "LogitScore": LogitScore,
}
#: The argument that takes the size of what the module before puts out.
SIZES = {
    "Pooling": "embedding_dimension",
    "WeightedLayerPooling": "embedding_dimension",
    "Dense": "in_features",
    "LayerNorm": "dimension",
}
#: Tokens as text, beside the library's arguments.
TOKENS = ("true_token", "false_token")
#: Objects, places and names that no manifest can give.
_NOT_GIVEN = frozenset(
    {
        "self",
        "args",
        "kwargs",
        "model_name_or_path",
        "tokenizer_name_or_path",
        "backend",
        "tokenizer",
        "embedding_weights",
        "init_weight",
        "init_bias",
        "layer_weights",
    }
)


def arguments_of(name: str) -> Sequence[str]:
    """Return the arguments that a manifest may give to the class `name`."""
    own = [argument for argument in inspect.signature(constructor(name)).parameters if argument not in _NOT_GIVEN]
    return [*own, *TOKENS] if name in ("Dense", "LogitScore") else own


def constructor(name: str) -> Callable[..., None]:
    """Return what takes the arguments of the class `name`; CLIPModel hands them on to Transformer."""
    return (Transformer if name == "CLIPModel" else CLASSES[name]).__init__
