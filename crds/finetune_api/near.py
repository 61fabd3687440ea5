"""Names that may have been meant by one that does not exist."""

import difflib
from collections.abc import Iterable

#: How much alike two names must be; difflib's own default suggests strangers.
_ALIKE = 0.7
_SHORTEST_PART = 4
#: What all names of a kind end with makes strangers alike: BCELoss and MSELoss.
_COMMON_END = "loss"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that is spelled most like `name`, or that holds it, or None."""
    by_core = {_core(candidate): candidate for candidate in known}
    alike = difflib.get_close_matches(_core(name), by_core, n=1, cutoff=_ALIKE)
    return by_core[alike[0]] if alike else holder(name, by_core.values())


def holder(name: str, known: Iterable[str]) -> str | None:
    """Return the first of `known` that has `name` as a part, None for parts that are too short to tell."""
    wanted = _core(name)
    if len(wanted) < _SHORTEST_PART:
        return None
    return next((candidate for candidate in known if wanted in _core(candidate)), None)


def plain(name: str) -> str:
    """Return a name without what styles of writing differ in: `learning_rate` is `learningRate`."""
    return name.replace("_", "").replace("-", "").lower()


def _core(name: str) -> str:
    return plain(name).removesuffix(_COMMON_END) or plain(name)
