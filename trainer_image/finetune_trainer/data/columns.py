"""What a column holds, by its declared type. A text column stays text, whatever its texts look like."""

from typing import Any

import datasets

from finetune_trainer.data.manifest import Modality

_TEXT = ("string", "large_string", "string_view")
_BYTES = ("binary", "large_binary", "binary_view")
_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def modality_of(feature: Any) -> Modality | str:  # noqa: ANN401 - the library's features share no base
    """Return `text` or `image`, or the words that say why the column is neither."""
    if isinstance(feature, datasets.Image) or _is_stored_image(feature):
        return "image"
    if isinstance(feature, datasets.Value):
        if feature.dtype in _TEXT:
            return "text"
        return "image" if feature.dtype in _BYTES else f"holds {feature.dtype}; text or images are needed"
    if isinstance(feature, list | datasets.List | datasets.LargeList):
        return "holds lists; a list is never trained on as it is, expand it into columns, one value each"
    return f"holds {type(feature).__name__}; text or images are needed"


def check_key(feature: Any) -> str | None:  # noqa: ANN401 - as above
    """Return why the column cannot hold ids, None if it can."""
    if isinstance(feature, datasets.Value) and feature.dtype in (*_TEXT, *_NUMBERS):
        return None
    return "holds no ids; strings or whole numbers are needed"


def _is_stored_image(feature: Any) -> bool:  # noqa: ANN401 - as above
    # An Image column that lost its type on the way, for example through pandas.
    return isinstance(feature, dict) and feature.keys() == {"bytes", "path"}
