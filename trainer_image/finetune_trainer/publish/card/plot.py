"""Lines as a picture. PNG, as the Hub does not show every SVG; equal arguments give equal bytes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 40, 32
_NUM_TICKS = 5
#: Drawn so much larger and made smaller, which smoothes lines.
_SCALE = 3
_PAPER, _INK, _GRID = "#ffffff", "#404040", "#e0e0e0"

Point = tuple[float, float]
Tick = tuple[float, str]


@dataclass(frozen=True)
class Line:
    """Points that are joined, and what they are called."""

    name: str
    colour: str
    points: Sequence[Point]


def plot(title: str, lines: Sequence[Line], *, ticks: Sequence[Tick]) -> bytes:
    """Return the picture; `ticks` are places on the axis below with their names, from its one end to the other."""
    values = [y for line in lines for _, y in line.points]
    frame = _Frame(ticks[0][0], ticks[-1][0], min(values), max(values))
    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), _PAPER)
    draw = ImageDraw.Draw(image)
    _text(draw, (_LEFT, 16), title, "lm", size=14)
    _axes(draw, frame, ticks)
    _legend(draw, lines)
    for line in lines:
        _stroke(draw, list(map(frame.place, line.points)), line.colour, width=2)
    file = io.BytesIO()
    image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(file, "PNG", optimize=True)
    return file.getvalue()


def step_ticks(last: int) -> list[Tick]:
    """Return places on an axis of steps, from 0 to the last."""
    steps = sorted({round(number * last / (_NUM_TICKS - 1)) for number in range(_NUM_TICKS)})
    return [(step, f"step {step}" if step == last else str(step)) for step in steps]


@dataclass(frozen=True)
class _Frame:
    """Where values of these ranges stand in the picture."""

    first: float
    last: float
    low: float
    high: float

    def place(self, point: Point) -> Point:
        """Return where a point stands; y grows downwards."""
        x, y = _share(point[0], self.first, self.last), _share(point[1], self.low, self.high)
        return _LEFT + x * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - y * (HEIGHT - _TOP - _BOTTOM)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _axes(draw: ImageDraw.ImageDraw, frame: _Frame, ticks: Sequence[Tick]) -> None:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    for number in range(_NUM_TICKS if frame.high > frame.low else 1):
        value = frame.low + number / (_NUM_TICKS - 1) * (frame.high - frame.low)
        _, y = frame.place((frame.first, value))
        _stroke(draw, [(_LEFT, y), (right, y)], _GRID, width=1)
        _text(draw, (_LEFT - 6, y), f"{value:.4g}", "rm")
    for x, name in ticks:
        place, _ = frame.place((x, frame.low))
        _stroke(draw, [(place, bottom), (place, bottom + 4)], _INK, width=1)
        _text(draw, (place, bottom + 16), name, "rm" if x == frame.last else "mm")
    _stroke(draw, [(_LEFT, _TOP), (_LEFT, bottom), (right, bottom)], _INK, width=1)


def _legend(draw: ImageDraw.ImageDraw, lines: Sequence[Line]) -> None:
    x: float = WIDTH - _RIGHT
    for line in reversed(lines if len(lines) > 1 else []):
        _text(draw, (x, 16), line.name, "rm")
        x -= draw.textlength(line.name, font=_font(12)) / _SCALE + 6
        _stroke(draw, [(x - 18, 16), (x, 16)], line.colour, width=2)
        x -= 34


def _stroke(draw: ImageDraw.ImageDraw, places: Sequence[Point], colour: str, *, width: int) -> None:
    draw.line([(x * _SCALE, y * _SCALE) for x, y in places], fill=colour, width=width * _SCALE, joint="curve")


def _text(draw: ImageDraw.ImageDraw, place: Point, words: str, anchor: str, *, size: int = 12) -> None:
    draw.text((place[0] * _SCALE, place[1] * _SCALE), words, fill=_INK, font=_font(size), anchor=anchor)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)
