"""What counts as a text: something that can be read. Numbers are texts where the spec says so."""

import math
import unicodedata
from decimal import Decimal

#: Without shape, whatever their category: fillers of Hangul, the empty Braille pattern, the grapheme joiner.
_SHAPELESS = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}


def is_visible(text: str) -> bool:
    """Say whether a text has a visible character; zero-width spaces, soft hyphens, a BOM or NUL are none."""
    return any(map(_has_shape, text))


def _has_shape(character: str) -> bool:
    # Z: separators. C: control and format characters, but C(o) are those of private use, which fonts draw.
    category = unicodedata.category(character)
    return category == "Co" or (category[0] not in "ZC" and character not in _SHAPELESS)


def as_text(value: object) -> str | None:
    """Return a text, or a number as people write it: 5 for 5.0, nothing for NaN; None for anything else."""
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    return str(value)
