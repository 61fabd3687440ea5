"""Draws one page of a report: a coloured header, lines of text, a figure in one of four places."""

import io
import random
from typing import NamedTuple

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 96, 128  # six by eight patches of 16 pixels
HEADER_HEIGHT = 12
FIGURE_SIZE = 36
TEXT_INK = (170, 170, 170)

FIGURE_COLORS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 70, 220),
    "orange": (240, 150, 30),
    "purple": (140, 50, 180),
    "black": (20, 20, 20),
}
FIGURE_KINDS = ("bar chart", "pie chart", "line chart", "table")
PLACES = {"top left": (6, 18), "top right": (52, 18), "bottom left": (6, 78), "bottom right": (52, 78)}
HEADER_COLORS = {"grey": (190, 190, 190), "yellow": (250, 240, 120), "cyan": (150, 240, 240), "pink": (250, 180, 210)}


class Page(NamedTuple):
    """What is on a page, in the words of a query."""

    color: str
    kind: str
    place: str
    header: str


def draw_page(page: Page, *, rng: random.Random) -> Image.Image:
    """Return an RGB image of 96 x 128 pixels; `rng` moves the figure a little and makes up its numbers."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH - 1, HEADER_HEIGHT - 1), fill=HEADER_COLORS[page.header])
    left, top = (corner + rng.randint(-2, 2) for corner in PLACES[page.place])
    draw_text_lines(draw, rng=rng)
    draw.rectangle((left - 3, top - 3, left + FIGURE_SIZE + 3, top + FIGURE_SIZE + 3), fill="white")
    draw_figure(draw, page, left=left, top=top, rng=rng)
    return image


def encode_png(image: Image.Image) -> bytes:
    """Return the bytes of a PNG file; equal images give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def draw_text_lines(draw: ImageDraw.ImageDraw, *, rng: random.Random) -> None:
    """Fill the page below its header with grey lines of differing length."""
    for y in range(HEADER_HEIGHT + 6, HEIGHT - 4, 6):
        draw.line((6, y, rng.randint(60, WIDTH - 7), y), fill=TEXT_INK)


def draw_figure(draw: ImageDraw.ImageDraw, page: Page, *, left: int, top: int, rng: random.Random) -> None:
    """Draw the figure, 36 x 36 pixels with made-up numbers."""
    right, bottom = left + FIGURE_SIZE, top + FIGURE_SIZE
    ink = FIGURE_COLORS[page.color]
    match page.kind:
        case "bar chart":
            for x in range(left, right, 9):
                draw.rectangle((x, bottom - rng.randint(10, FIGURE_SIZE), x + 6, bottom), fill=ink)
        case "pie chart":
            start = rng.randint(0, 360)
            draw.pieslice((left, top, right, bottom), start, start + rng.randint(200, 300), fill=ink)
            draw.ellipse((left, top, right, bottom), outline=ink)
        case "line chart":
            points = [(x, rng.randint(top, bottom)) for x in range(left, right + 1, 9)]
            draw.line(points, fill=ink, width=3)
        case "table":
            for offset in range(0, FIGURE_SIZE + 1, 9):
                draw.line((left, top + offset, right, top + offset), fill=ink)
                draw.line((left + offset, top, left + offset, bottom), fill=ink)
        case _:
            raise ValueError(f"kind: {page.kind!r} cannot be drawn; take one of {', '.join(FIGURE_KINDS)}")
