"""Sentences and pictures of the pages of PDF files, and how they become the dataset of the router example."""

import gzip
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from examples.inputs.manual_pages import NUM_HELD_OUT, NUM_TRAIN, encode_rows, split_sentences
from examples.inputs.pdf_pages import SIZE, PdfPage, find_sentences, keep_unmistakable, read_pages
from tests.examples.pdf import make_pdf

FULL = "The package manager keeps a list of every file that it has unpacked. " * 12
PICTURE = Image.new("RGB", SIZE, "white")


def page(number: int, *, num_sentences: int = NUM_TRAIN + NUM_HELD_OUT) -> PdfPage:
    return PdfPage(f"manual-{number:03}", [f"Sentence {n} of page {number}." for n in range(num_sentences)], PICTURE)


@pytest.mark.parametrize("suffix", ["pdf", "pdf.gz"])
def test_pages_full_of_text_become_sentences_and_a_picture(tmp_path: Path, suffix: str) -> None:
    content = make_pdf(["A title", FULL, "Contents . . . . 1 " * 60])
    path = tmp_path / f"policy.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)

    (found,) = read_pages(path)

    assert (found.name, found.sentences) == (
        "policy-002",
        ["The package manager keeps a list of every file that it has unpacked."],
    )
    assert (found.image.size, found.image.mode) == ((128, 160), "RGB")
    assert len(set(found.image.convert("L").tobytes())) > 10


def test_sentences_are_joined_over_lines_and_hyphens() -> None:
    text = (
        "Every pack-\r\nage has exactly one main\u0002\r\ntainer in Debian. "
        "Others help\r\nthe one who main\ufffetains it."
    )

    assert list(find_sentences(text)) == [
        "Every package has exactly one maintainer in Debian.",
        "Others help the one who maintains it.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Too short to be asked for.",
        "This sentence goes on " + "and on " * 10 + "until it is too long to be asked for.",
        "Run $ dpkg -i /var/cache/apt/*.deb && echo 0 1 2 3 4 5 6 7 8 9 to install.",
        "A sentence that does not end before the page does",
        "which began on the page before and is only half here.",
    ],
)
def test_fragments_are_no_sentences(text: str) -> None:
    assert list(find_sentences(text)) == []


def test_a_sentence_on_two_pages_asks_for_neither() -> None:
    first, second = page(1), page(2)
    second.sentences[0] = first.sentences[0].upper()

    kept = keep_unmistakable([first, second])

    assert [found.sentences for found in kept] == [first.sentences[1:], second.sentences[1:]]


def test_no_held_out_sentence_is_trained_on_and_every_page_is_in_both_parts() -> None:
    pages = [page(number) for number in range(10)] + [page(10, num_sentences=NUM_TRAIN + NUM_HELD_OUT - 1)]

    split = split_sentences(pages, num_pages=8)

    trained, held_out = ({row.query for row in part} for part in split)
    assert (len(trained), len(held_out)) == (8 * NUM_TRAIN, 8 * NUM_HELD_OUT)
    assert not trained & held_out
    counts = Counter(row.page.name for row in split.train)
    assert set(counts.values()) == {NUM_TRAIN}
    assert counts.keys() == {row.page.name for row in split.held_out}
    assert "manual-010" not in counts


def test_the_seed_decides_what_is_held_out() -> None:
    pages = [page(number) for number in range(10)]

    first, again, other = (split_sentences(pages, num_pages=8, seed=seed) for seed in (0, 0, 1))

    assert first == again
    assert first != other


def test_rows_name_the_page_that_they_show() -> None:
    split = split_sentences([page(7)], num_pages=1)

    (row, *_) = encode_rows(split.train)

    assert (row["query"], row["image"]["path"]) == (split.train[0].query, "manual-007.png")
    assert row["image"]["bytes"].startswith(b"\x89PNG")
