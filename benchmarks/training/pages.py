"""The small scales' pages: scanned-looking A4 pages at 150 dpi as JPEG, a question for each, one hard negative."""

import io
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image, ImageChops, ImageDraw, ImageFont

from examples.inputs.page_drawing import FIGURE_COLORS, FIGURE_KINDS, HEADER_COLORS, PLACES, Page, draw_page
from examples.inputs.pages import build_questions, split_pages

A4_PIXELS = (1240, 1754)
JPEG_QUALITY = 90
NUM_TEXTS = 8
"""Different texts that pages are printed with."""
SHARED_NEGATIVES = 5
"""Every so many rows the hard negative is another row's page, as it happens in real sets."""
ATTRIBUTES = {
    "color": tuple(FIGURE_COLORS),
    "kind": FIGURE_KINDS,
    "place": tuple(PLACES),
    "header": tuple(HEADER_COLORS),
}


class Sheet(NamedTuple):
    """One page to draw; equal sheets give equal bytes."""

    page: Page
    seed: int


def build_dataset(folder: Path, *, rows: int, held_out: int) -> None:
    """Write `train` and `test` so that `load_dataset(folder)` reads them; no combination is in both."""
    split = split_pages(num_held_out=held_out, repeats=1)
    rng = random.Random(0)
    train_pages = [rng.choice(split.train) for _ in range(rows)]
    for name, pages, seed in (("train", train_pages, 1), ("test", split.held_out, 2)):
        positives = place_on_sheets(pages, seed=seed)
        shared = SHARED_NEGATIVES if name == "train" else 0
        columns: dict[str, Sequence[str | Sheet]] = {
            "query": [rng.choice(build_questions(page)) for page in pages],
            "image": positives,
            "negative_0": list(choose_negatives(positives, rng=rng, shared_every=shared)),
        }
        write_table(folder, name, columns)


def place_on_sheets(pages: Sequence[Page], *, seed: int) -> list[Sheet]:
    """Return a sheet for each page; equal pages differ in their print."""
    return [Sheet(page, seed * 1_000_000 + number) for number, page in enumerate(pages)]


def write_table(folder: Path, split: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write one split; columns of sheets become images, each sheet drawn once, on all cores."""
    sheets = list(dict.fromkeys(cell for cells in columns.values() for cell in cells if isinstance(cell, Sheet)))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = dict(zip(sheets, pool.map(draw_sheet, sheets, chunksize=8), strict=True))
    features, filled = {}, {}
    for name, cells in columns.items():
        is_image = isinstance(cells[0], Sheet)
        features[name] = ImageFeature() if is_image else Value("string" if isinstance(cells[0], str) else "float32")
        filled[name] = [as_cell(drawn[cell], number) if is_image else cell for number, cell in enumerate(cells)]
    folder.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(filled, features=Features(features)).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def choose_negatives(positives: Sequence[Sheet], *, rng: random.Random, shared_every: int) -> Iterator[Sheet]:
    """Yield for each sheet one that differs in a single attribute, or now and then another row's."""
    for number, positive in enumerate(positives):
        if shared_every and number % shared_every == 0:
            yield rng.choice([other for other in positives if other.page != positive.page])
            continue
        attribute = rng.choice(list(ATTRIBUTES))
        others = [value for value in ATTRIBUTES[attribute] if value != getattr(positive.page, attribute)]
        yield Sheet(positive.page._replace(**{attribute: rng.choice(others)}), positive.seed + 500_000)


def as_cell(content: bytes, number: int) -> dict[str, Any]:
    """Return an image as the datasets library keeps it."""
    return {"bytes": content, "path": f"page-{number:04}.jpg"}


def draw_sheet(sheet: Sheet) -> bytes:
    """Return a JPEG of A4 size: the page's header, figure and lines, printed with text."""
    rng = random.Random(sheet.seed)
    image = draw_page(sheet.page, rng=rng).resize(A4_PIXELS, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    ImageChops.darker(image, print_text(rng.randrange(NUM_TEXTS))).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


@cache
def print_text(seed: int) -> Image.Image:
    """Return a white sheet full of grey words."""
    rng = random.Random(seed)
    sheet = Image.new("RGB", A4_PIXELS, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=20)
    letters = "etaoinshrdlucmfwypvbgk"
    for y in range(180, A4_PIXELS[1] - 80, 30):
        words = ("".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(14))
        draw.text((80, y), " ".join(words), fill=(120, 120, 120), font=font)
    return sheet
