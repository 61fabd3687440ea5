"""The classes that spec.model.modules names, and which of their arguments a manifest may give."""

import inspect
from collections.abc import Sequence

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
#: Those that read texts and images; one of them comes first, and only there.
INPUT_MODULES = ("Transformer", "CLIPModel", "StaticEmbedding")
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
    # CLIPModel hands its arguments on to Transformer.
    signature = inspect.signature((Transformer if name == "CLIPModel" else CLASSES[name]).__init__)
    own = [argument for argument in signature.parameters if argument not in _NOT_GIVEN]
    return [*own, *TOKENS] if name in ("Dense", "LogitScore") else own


def missing_argument(name: str, given: Sequence[str]) -> str | None:
    """Return an argument that the class `name` needs and that nothing before it tells, None if all are given."""
    if name == "Dense" and "out_features" not in given:
        return "out_features"
    if name == "LogitScore" and not {"true_token", "true_token_id"} & set(given):
        return "true_token"
    return None
