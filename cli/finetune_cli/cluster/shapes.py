"""Numbers as characters: bars, sparklines, columns and ages."""

from collections.abc import Iterator, Sequence

_LEVELS = "▁▂▃▄▅▆▇█"
_DONE, _TO_DO = "█", "░"
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def sparkline(values: Sequence[float], *, also: Sequence[float] = ()) -> str:
    """Return a character per value, the least and the most of all values and of `also` being the ends of the scale."""
    everything = [*values, *also]
    if not values:
        return ""
    low, span = min(everything), max(everything) - min(everything)
    return "".join(_LEVELS[round((value - low) / span * (len(_LEVELS) - 1)) if span else 0] for value in values)


def bar(percent: int, *, width: int) -> tuple[str, str]:
    """Return the parts of a bar that is so wide: what is done, and what is to do."""
    done = width * min(max(percent, 0), 100) // 100
    return _DONE * done, _TO_DO * (width - done)


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each row as a line in which cells stand below one another."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def age(seconds: float) -> str:
    """Return seconds in short: 42s, 12m, 3h or 8d."""
    return next((f"{int(seconds // size)}{unit}" for unit, size in _UNITS if seconds >= 2 * size), f"{int(seconds)}s")
