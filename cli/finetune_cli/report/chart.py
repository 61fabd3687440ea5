"""A curve as SVG: points joined by a line, with the ends of both axes, and a line for what it is compared with."""

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 28, 28

Point = tuple[float, float]


def chart(title: str, points: Sequence[Point], *, last: float, baseline: float | None = None) -> str:
    """Return a chart of values over the steps from 0 to `last`; empty if there are none."""
    if not points:
        return ""
    values = [y for _, y in points] + ([] if baseline is None else [baseline])
    frame = _Frame(0, last, min(values), max(values))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.place, points))
    dots = "".join(_dot(frame.place(point), f"step {point[0]:.0f}: {point[1]:.6g}") for point in points)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text x="{_LEFT}" y="16" class="title">{escape(title)}</text>'
        f"{frame.axes()}{'' if baseline is None else frame.baseline(baseline)}"
        f'<polyline points="{line}"/>{dots}</svg>\n'
    )


class _Frame:
    """Where values of these ranges stand in the picture."""

    def __init__(self, first: float, last: float, low: float, high: float) -> None:
        self._first, self._last, self._low, self._high = first, last, low, high

    def place(self, point: Point) -> Point:
        """Return where a point stands; y grows downwards."""
        x = _share(point[0], self._first, self._last)
        y = _share(point[1], self._low, self._high)
        return _LEFT + x * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - y * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> str:
        """Return both axes with the values at their ends."""
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        return (
            f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{right}"/>'
            + _text(_LEFT - 6, _TOP + 4, f"{self._high:.4g}", "end")
            + _text(_LEFT - 6, bottom, f"{self._low:.4g}", "end")
            + _text(_LEFT, _HEIGHT - 8, f"step {self._first:.0f}", "start")
            + _text(right, _HEIGHT - 8, f"{self._last:.0f}", "end")
        )

    def baseline(self, value: float) -> str:
        """Return a line across at a value."""
        _, y = self.place((self._first, value))
        right = _WIDTH - _RIGHT
        return f'<path class="baseline" d="M{_LEFT},{y:.1f}H{right}"/>' + _text(
            right, y - 4, f"before {value:.4f}", "end"
        )


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _dot(place: Point, words: str) -> str:
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="3"><title>{escape(words)}</title></circle>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
