"""prepare: images that are not what they should be are named, with what to do; none is trained on in silence."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from finetune_api.reasons import Reason
from finetune_trainer.prepare.images.store import Fault, decode
from finetune_trainer.recipe.model.pixels import as_seen
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.laying_out import given, lay_out, text_run, told

PAGES = {"query": "query", "positive": "image"}
NAMES = {"query": "question", "positive": "answer", "images": ["answer"]}
LOOK = "look at them"
RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def saved(image: Image.Image, format_: str = "PNG", **settings: Any) -> bytes:  # noqa: ANN401 - Pillow's
    buffer = io.BytesIO()
    image.save(buffer, format_, **settings)
    return buffer.getvalue()


def plain(color: str = "white") -> bytes:
    return saved(Image.new("RGB", (32, 32), color))


def pages_run(make_run: MakeRun, claim: Path, images: Sequence[bytes]) -> Run:
    write_pages(claim / "qa", train=[{"query": f"q{i}", "image": image} for i, image in enumerate(images)])
    return text_run(make_run, columns=PAGES)


@pytest.mark.parametrize(
    ("values", "format_"),
    [
        ((RAMP * 65_535).astype(np.uint16), "PNG"),
        ((RAMP * 65_535).astype(np.uint16), "TIFF"),
        ((RAMP * 65_535).astype(np.int32), "TIFF"),
        ((RAMP * 255).astype(np.int32), "TIFF"),
        ((RAMP * 2_000_000 - 1_000_000).astype(np.int32), "TIFF"),
        (RAMP.astype(np.float32), "TIFF"),
        ((RAMP * 255).astype(np.float32), "TIFF"),
        ((RAMP * 4e6 - 2e6).astype(np.float32), "TIFF"),
    ],
    ids=["16 bits", "16 bits, TIFF", "32 bits as 16", "32 bits as 8", "32 bits", "0 to 1", "0 to 255", "any floats"],
)
def test_wide_grey_values_become_8_bits(values: Any, format_: str) -> None:  # noqa: ANN401 - an array
    image = decode(saved(Image.fromarray(values), format_))
    assert isinstance(image, Image.Image)

    seen = as_seen(image)

    assert seen.mode == "RGB"
    assert np.abs(np.asarray(seen)[..., 0] - RAMP * 255).max() <= 1


def test_what_is_no_number_in_floats_is_black() -> None:
    values = RAMP.astype(np.float32)
    values[0, :3] = [np.nan, np.inf, -np.inf]

    seen = np.asarray(as_seen(Image.fromarray(values)))

    assert (seen[0, :3].tolist(), int(seen.max())) == ([[0, 0, 0]] * 3, 255)


def test_images_of_one_colour_are_told_with_row_and_file(make_run: MakeRun, claim: Path) -> None:
    given(claim, *({"id": f"n{i}", "question": f"q{i}", "answer": f"{i}.png"} for i in range(10)))
    for i in range(10):
        (claim / "qa" / f"{i}.png").write_bytes(plain() if i in (2, 7) else png(size=(32, 33 + i)))

    assert lay_out(text_run(make_run, columns=NAMES)).warnings == [
        "spec.data.train[0]: dataset qa: 2 images of 10 are of one single colour (row 2 (id n2): positive 2.png; row 7 "
        f"(id n7): positive 7.png); {LOOK}"
    ]


def test_a_set_of_images_of_one_colour_is_refused_even_when_they_are_there_already(
    make_run: MakeRun, claim: Path
) -> None:
    run = pages_run(make_run, claim, [plain(), plain("black"), plain("red"), plain("blue"), plain()] * 2)

    for _ in range(2):  # as when prepare was interrupted
        assert told(run) == (
            Reason.BAD_SAMPLES,
            "spec.data.train[0]: dataset qa: 10 images of 10 are of one single colour (row 0: positive; row 1: "
            "positive; row 2: positive; row 3: positive; row 4: positive, ...), which teaches nothing; mend or replace "
            "these images",
        )


def test_images_of_one_colour_of_a_corpus_are_told(make_run: MakeRun, claim: Path) -> None:
    given(claim, {})
    images = [png(size=(32, 33 + i)) for i in range(3)]
    write_pages(
        claim / "held-out",
        train=None,
        test=[{"query": f"q{i}", "image": one} for i, one in enumerate([*images, plain()])],
    )
    evaluation = [{"name": "held-out", "source": "pvc://inputs/held-out", "columns": PAGES}]

    assert lay_out(text_run(make_run, evaluation=evaluation)).warnings == [
        f"spec.data.evaluation[0]: dataset held-out: 1 image of 4 is of one single colour (row 3: positive); {LOOK}"
    ]


def test_nearly_black_images_as_of_12_bits_in_16_are_told(make_run: MakeRun, claim: Path) -> None:
    dark, whole = ((RAMP * most).astype(np.uint16) for most in (4_095, 65_535))
    given(claim, *({"question": f"q{i}", "answer": f"{i}.png"} for i in range(2)))
    for i, values in enumerate([dark, whole]):
        (claim / "qa" / f"{i}.png").write_bytes(saved(Image.fromarray(values)))

    assert lay_out(text_run(make_run, columns=NAMES)).warnings == [
        "spec.data.train[0]: dataset qa: 1 image of 2 is nearly black all over, as 12 bits in 16 are that were not "
        f"scaled to the whole range (row 0: positive 0.png); {LOOK}"
    ]


def test_one_other_pixel_is_enough_and_is_looked_for(make_run: MakeRun, claim: Path) -> None:
    pages = [Image.new("RGB", (100, 100), "white") for _ in range(2)]
    pages[1].putpixel((1, 1), (255, 255, 254))

    assert lay_out(pages_run(make_run, claim, [saved(page) for page in pages])).warnings == [
        f"spec.data.train[0]: dataset qa: 1 image of 2 is of one single colour (row 0: positive); {LOOK}"
    ]


def test_a_missing_list_of_images_is_an_empty_one(make_run: MakeRun, claim: Path) -> None:
    given(claim, *({"question": f"q{i}", "answer": f"{i}.png", "negs": ["9.png"] if i else None} for i in range(9)))
    for i in range(10):
        (claim / "qa" / f"{i}.png").write_bytes(png(size=(32, 33 + i)))
    columns = NAMES | {"negatives": ["negs"], "images": ["answer", "negs"]}

    assert lay_out(text_run(make_run, columns=columns)).warnings == [
        "spec.data.train[0]: dataset qa: 1 rows have less than 1 negatives; they are left out"
    ]


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "TIFF", "PNG"])
def test_images_of_several_frames_are_told(make_run: MakeRun, claim: Path, format_: str) -> None:
    frames = [Image.open(io.BytesIO(png(color))) for color in ("red", "blue", "green")]
    moving = saved(frames[0], format_, save_all=True, append_images=frames[1:])

    assert lay_out(pages_run(make_run, claim, [png(), moving])).warnings == [
        "spec.data.train[0]: dataset qa: 1 image of 2 is of several frames or pages, of which the first is taken (row "
        f"1: positive); {LOOK}"
    ]


CONVERT = "convert it to PNG, JPEG or WEBP"


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (saved(Image.new("RGB", (32, 32)), "AVIF"), f"image is AVIF, which is not read; {CONVERT}"),
        (saved(Image.new("RGB", (32, 32)), "JPEG2000"), f"image is JPEG 2000, which is not read; {CONVERT}"),
        (b"\0\0\0\x18ftypheic", f"image is HEIC, which is not read; {CONVERT}"),
        (
            b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
            f"image is SVG, which is not read; {CONVERT}",
        ),
        (
            b"<!DOCTYPE html><html>404</html>",
            "image is HTML, which is not read; the page of an error, perhaps; fetch the image itself",
        ),
        (b"%PDF-1.7", "image is PDF, which is not read; make an image of each page"),
        (b"RIFF....WAVEfmt ", "image is WAV audio, which is not read; only images can be read here"),
        (b"\0\0\0\x18ftypisom", "image is MP4 video, which is not read; only images can be read here"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "image is a pointer of Git LFS, which is not read; fetch the file with `git lfs pull`",
        ),
        (png()[:60], "image cannot be decoded"),
        (b"nothing known", "image cannot be decoded"),
    ],
)
def test_what_is_no_image_that_is_read_is_named(content: bytes, because: str) -> None:
    assert decode(content) == Fault(because)


def write_untyped(claim: Path, contents: Sequence[bytes | None], *, as_struct: bool) -> None:
    binary = datasets.Value("binary")
    answer = {"bytes": binary, "path": datasets.Value("string")} if as_struct else binary
    features = datasets.Features({"question": datasets.Value("string"), "answer": answer})
    cells = [{"bytes": one, "path": "clip"} if as_struct else one for one in contents]
    rows = [{"question": f"q{i}", "answer": cell} for i, cell in enumerate(cells)]
    (claim / "qa").mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(claim / "qa" / "train.parquet")


@pytest.mark.parametrize("as_struct", [True, False], ids=["bytes and path", "bytes"])
def test_bytes_that_are_no_images_are_not_called_images(make_run: MakeRun, claim: Path, *, as_struct: bool) -> None:
    write_untyped(claim, [b"RIFF\0\0\0\0WAVEfmt ", None, b"\x80\x04pickled"], as_struct=as_struct)

    assert told(text_run(make_run)) == (
        Reason.UNSUPPORTED_MODALITY,
        "spec.data.train[0]: column 'answer' of dataset qa holds bytes that are no images (the first are WAV audio, of "
        "no known format); texts and images alone can be trained on: name a column of them",
    )


def test_some_bytes_that_are_no_images_are_bad_rows(make_run: MakeRun, claim: Path) -> None:
    write_untyped(claim, [png(), b"RIFF\0\0\0\0WAVEfmt "], as_struct=False)

    reason, message = told(text_run(make_run))

    assert reason is Reason.BAD_SAMPLES
    assert "row 1: positive: image is WAV audio, which is not read; only images can be read here" in message


def zipped(path: Path, **files: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_pictures_that_are_in_an_archive_beside_their_table_are_missing_by_name(make_run: MakeRun, claim: Path) -> None:
    zipped(claim / "qa" / "train" / "images.zip", **{"a.png": png()})
    write_jsonl(claim / "qa" / "train" / "metadata.jsonl", [{"file_name": "a.png", "query": "q"}])

    assert told(text_run(make_run, columns=PAGES)) == (
        Reason.BAD_SAMPLES,
        "spec.data.train[0]: dataset qa: 1 row of 1 cannot be used (row 0: positive: image file train/a.png is "
        "missing; paths are relative to the dataset's folder; pictures inside train/images.zip are not read, "
        "unpack it), above maxBadSampleRatio 0.01; mend these rows or raise data.maxBadSampleRatio",
    )


def test_what_to_do_is_said_once_for_rows_with_the_same_fault(make_run: MakeRun, claim: Path) -> None:
    zipped(claim / "qa" / "pages.zip", **{"0.png": png()})
    names = ["0.png", "1.png", "2.png", "wav.png", "4.png"]
    given(claim, *({"id": f"{i}; x", "answer": name} for i, name in enumerate(names)))
    (claim / "qa" / "wav.png").write_bytes(b"RIFF....WAVEfmt ")

    assert told(text_run(make_run, columns=NAMES)) == (
        Reason.BAD_SAMPLES,
        "spec.data.train[0]: dataset qa: 5 rows of 5 cannot be used (row 0 (id 0; x): positive: image file 0.png is "
        "missing; paths are relative to the dataset's folder; pictures inside pages.zip are not read, unpack it; row 1 "
        "(id 1; x): positive: image file 1.png is missing; row 2 (id 2; x): positive: image file 2.png is missing; row "
        "3 (id 3; x): positive: image is WAV audio, which is not read; only images can be read here; row 4 (id 4; x): "
        "positive: image file 4.png is missing), above maxBadSampleRatio 0.01; mend these rows or raise "
        "data.maxBadSampleRatio",
    )


def test_pictures_that_are_in_an_archive_with_their_table_are_told(make_run: MakeRun, claim: Path) -> None:
    table = b'{"file_name": "a.png", "query": "q"}\n'
    zipped(claim / "qa" / "train.zip", **{"a.png": png(), "metadata.jsonl": table})

    reason, message = told(text_run(make_run, columns=PAGES))

    assert reason is Reason.BAD_SAMPLES
    assert "row 0: positive: image file a.png is missing" in message
    assert "pictures inside train.zip are not read, unpack it" in message


def test_images_written_as_data_addresses_are_told(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answer": "data:image/png;base64,iVBORw0KGgo"})

    reason, message = told(text_run(make_run, columns=NAMES))

    assert reason is Reason.BAD_SAMPLES
    assert "row 0: positive: image written as a data: address; give a column of bytes" in message
