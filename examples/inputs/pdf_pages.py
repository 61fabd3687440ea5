"""Reads PDF files: of every page full of text the sentences that stand there, and a small picture."""

import gzip
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pypdfium2
from PIL import Image

SIZE = (128, 160)
"""Width and height of a picture, in pixels."""

MIN_PAGE_WORDS = 120
# Tables of contents fill their lines with dots.
MAX_DOTTED_LINES = 10
SENTENCE_WORDS = range(7, 21)
MIN_LETTER_SHARE = 0.85


class PdfPage(NamedTuple):
    """One page of a PDF file."""

    name: str
    """The file's name and the page's number, from 1: `policy-017`."""
    sentences: list[str]
    image: Image.Image
    """In colour, SIZE pixels."""


def read_pages(path: Path) -> Iterator[PdfPage]:
    """Yield the pages of a file, `.pdf` or `.pdf.gz`, that are full of text; images of pages are too small to read."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    with pypdfium2.PdfDocument(content) as document:
        for number in range(len(document)):
            page = document[number]
            text = page.get_textpage().get_text_bounded()
            if is_full_of_text(text):
                image = page.render(scale=1).to_pil().convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
                yield PdfPage(f"{path.name.partition('.')[0]}-{number + 1:03}", list(find_sentences(text)), image)


def is_full_of_text(text: str) -> bool:
    """Say whether a page is one of running text: no title, no table of contents, no page with two lines on it."""
    return len(text.split()) >= MIN_PAGE_WORDS and text.count(". .") <= MAX_DOTTED_LINES


def find_sentences(text: str) -> Iterator[str]:
    """Yield whole sentences of 7 to 20 words, each once, without fragments of code and of tables."""
    # U+FFFE and U+0002 are how the library writes a hyphen at the end of a line.
    joined = re.sub("(-|\ufffe|\u0002)\r?\n|\ufffe|\u0002", "", text)
    line = re.sub(r"\s+", " ", joined).strip()
    for sentence in dict.fromkeys(re.split(r"(?<=[.!?])\s+(?=[A-Z])", line)):
        letters = sum(character.isalpha() or character == " " for character in sentence)
        if (
            len(sentence.split()) in SENTENCE_WORDS
            and sentence[0].isupper()
            and sentence[-1] in ".!?"
            and letters > MIN_LETTER_SHARE * len(sentence)
        ):
            yield sentence


def keep_unmistakable(pages: Iterable[PdfPage]) -> list[PdfPage]:
    """Return the pages with only those of their sentences that are on no other page."""
    pages = list(pages)
    counts = Counter(sentence.lower() for page in pages for sentence in page.sentences)
    return [
        page._replace(sentences=[sentence for sentence in page.sentences if counts[sentence.lower()] == 1])
        for page in pages
    ]
