"""Names that may have been meant."""

import difflib
from collections.abc import Iterable

_SHOWN = 3
_LISTED = 12


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence's end that says what to write instead of `name`."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=_SHOWN)
    if near:
        return f"did you mean {' or '.join(near)}?"
    more = ", ..." if len(names) > _LISTED else ""
    return f"choose among {', '.join(names[:_LISTED])}{more}"
