"""Labels of rows: numbers as the loss or the evaluator takes them, or why a cell holds none."""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from finetune_api.losses import Label
from finetune_trainer.prepare.images.store import Fault
from finetune_trainer.prepare.rows.columns import describe, holds_numbers

LabelValue = int | float | list[float]

_LISTS = (Label.SCORES, Label.VECTOR)
_WHOLE = (Label.BINARY, Label.CLASS)


def check_label(feature: Any, label: Label) -> str | None:  # noqa: ANN401 - the library's features share no base
    """Return why a column of this type cannot hold such labels, None if it can."""
    one, many = holds_numbers(feature)
    fits = many if label in _LISTS else one or (many and label is Label.MARGINS)
    return None if fits else f"holds {describe(feature)}; what is needed is {label.value}"


def type_of(label: Label, *, many: bool) -> pa.DataType:
    """Return how such labels are written; `many` says whether a cell is a list."""
    if many:
        return pa.list_(pa.float64())
    return pa.int64() if label in _WHOLE else pa.float64()


def read_label(value: object, label: Label) -> LabelValue | Fault:
    """Return the label that a cell holds, or why it holds none; says nothing of the cell's content."""
    if value is None:
        return Fault("no label")
    if isinstance(value, list):
        return _read_list(value)
    number = _number(value)
    if number is None:
        return Fault("label is no finite number")
    if label is Label.BINARY and number not in (0, 1):
        return Fault("label is neither 0 nor 1")
    if label is Label.CLASS and (number < 0 or number != int(number)):
        return Fault("label is no class, which are whole numbers from 0")
    return int(number) if label in _WHOLE else number


def _read_list(values: Iterable[object]) -> list[float] | Fault:
    numbers = [_number(value) for value in values]
    found = [number for number in numbers if number is not None]
    if not found or len(found) < len(numbers):
        return Fault("label is no list of finite numbers")
    return found


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float | Decimal) and math.isfinite(value) else None
