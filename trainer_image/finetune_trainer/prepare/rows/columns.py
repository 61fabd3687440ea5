"""What a column holds, by its declared type. A text column stays text, whatever its texts look like."""

from dataclasses import dataclass
from typing import Any

import datasets

from finetune_trainer.workspace.manifest import Modality

_TEXT = ("string", "large_string", "string_view")
_BYTES = ("binary", "large_binary", "binary_view")
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NUMBERS = (*_WHOLE, "bool", "float16", "float32", "float64")
_DECIMALS = ("decimal128", "decimal256")


@dataclass(frozen=True)
class Content:
    """What the cells of a column are."""

    modality: Modality
    many: bool = False
    """Whether a cell is a list of them."""


def content_of(
    feature: Any,  # noqa: ANN401 - features share no base
    *,
    by_name: bool = False,
    as_text: bool = False,
) -> Content | str:
    """Return what the column holds, or the words that say why it can be neither text nor image.

    `by_name` says that its strings are paths or addresses of images, `as_text` that its numbers are texts.
    """
    values = _values_of(feature)
    one = feature if values is None else values
    modality = _modality_of(one, by_name=by_name)
    if as_text:
        modality = "text" if modality == "text" or may_be_text(one) else None
    if modality is None:
        return f"holds {describe(feature)}; {'text is' if as_text else 'text or images are'} needed"
    return Content(modality=modality, many=values is not None)


def may_be_text(feature: Any) -> bool:  # noqa: ANN401 - as above
    """Say whether the column, or its lists, hold numbers, or numbers among texts: texts if the spec says so."""
    values = _values_of(feature)
    one = feature if values is None else values
    number = isinstance(one, datasets.Value) and one.dtype != "bool" and _is_number(one)
    return isinstance(one, datasets.Json) or number


def holds_numbers(feature: Any) -> tuple[bool, bool]:  # noqa: ANN401 - as above
    """Say whether the column holds one number per cell, and whether it holds a list of numbers per cell."""
    values = _values_of(feature)
    return values is None and _is_number(feature), values is not None and _is_number(values)


def check_key(feature: Any) -> str | None:  # noqa: ANN401 - as above
    """Return why the column cannot hold ids, None if it can; of values of several types, each is looked at."""
    if isinstance(feature, datasets.Json) or (
        isinstance(feature, datasets.Value) and feature.dtype in (*_TEXT, *_WHOLE)
    ):
        return None
    return "holds no ids; strings or whole numbers are needed"


def is_image(feature: Any) -> bool:  # noqa: ANN401 - as above
    """Say whether the type of the column, or of its lists, says that it holds images."""
    values = _values_of(feature)
    return isinstance(feature if values is None else values, datasets.Image)


def holds_bytes(feature: Any) -> bool:  # noqa: ANN401 - as above
    """Say whether the column, or its lists, hold images or other bytes, which may be large."""
    values = _values_of(feature)
    one = feature if values is None else values
    is_bytes = isinstance(one, datasets.Value) and one.dtype in _BYTES
    return is_bytes or isinstance(one, datasets.Image) or _is_stored_image(one)


def undecoded(feature: Any) -> Any:  # noqa: ANN401 - as above
    """Return the type under which images of the column are read as they are stored; other types are left alone."""
    if isinstance(feature, datasets.Image):
        return datasets.Image(decode=False)
    if isinstance(feature, datasets.List | datasets.LargeList):
        length = {"length": feature.length} if isinstance(feature, datasets.List) else {}
        return type(feature)(undecoded(feature.feature), **length)
    return feature


def describe(feature: Any) -> str:  # noqa: ANN401 - as above
    """Return what the column holds in words, for messages: `int64`, `lists of string`."""
    values = _values_of(feature)
    if values is not None:
        return f"lists of {describe(values)}"
    if isinstance(feature, datasets.Json):
        return "values of several types"
    return str(feature.dtype) if isinstance(feature, datasets.Value) else type(feature).__name__


def _values_of(feature: Any) -> Any:  # noqa: ANN401 - as above
    """Return the type of the values of a list, None if the feature is no list."""
    if isinstance(feature, list):
        return feature[0]
    return feature.feature if isinstance(feature, datasets.List | datasets.LargeList) else None


def _modality_of(feature: Any, *, by_name: bool) -> Modality | None:  # noqa: ANN401 - as above
    if isinstance(feature, datasets.Image) or _is_stored_image(feature):
        return "image"
    if isinstance(feature, datasets.Value) and feature.dtype in _TEXT:
        return "image" if by_name else "text"
    return "image" if isinstance(feature, datasets.Value) and feature.dtype in _BYTES else None


def _is_stored_image(feature: Any) -> bool:  # noqa: ANN401 - as above
    # An Image column that lost its type on the way, for example through pandas.
    return isinstance(feature, dict) and feature.keys() == {"bytes", "path"}


def _is_number(feature: Any) -> bool:  # noqa: ANN401 - as above
    return isinstance(feature, datasets.ClassLabel) or (
        isinstance(feature, datasets.Value) and (feature.dtype in _NUMBERS or feature.dtype.startswith(_DECIMALS))
    )
