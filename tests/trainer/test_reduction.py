# ruff: noqa: ANN401 - the library's types are imported where a test needs them
"""Images kept as small as the model sees them: the same numbers for the model, less to read each time."""

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.inputs.page_drawing import draw_page
from examples.inputs.pages import split_pages
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.prepare.images.reduction import Reduction, reduction_for
from finetune_trainer.prepare.images.store import EXTENSIONS, Fault, ImageStore
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.recipe.model.inputs import open_image
from finetune_trainer.workspace.images import KeptImages
from tests.trainer.conftest import MakeRun, png, write_pages
from tests.trainer.laying_out import kept, read

SIZE = {"shortest_edge": 32 * 32, "longest_edge": 96 * 96}


def spec_of(**parts: Any) -> FinetuneJobSpec:
    train = {"name": "pages", "source": "hf://demo/pages", "columns": {"query": "query", "positive": "image"}}
    return FinetuneJobSpec.model_validate(
        {"model": {"source": "hf://demo/tiny"}, "data": {"train": [train | parts.pop("train", {})]}, **parts}
    )


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_model), device="cpu", processor_kwargs={"size": SIZE})


@pytest.fixture(scope="module")
def reduction(model: Any) -> Reduction:
    found = reduction_for(model, spec_of())
    assert found is not None
    return found


def page(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    return draw_page(split_pages().train[0], rng=random.Random(0)).resize(size).convert(mode)


def bytes_of(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


def kept_in(folder: Path, contents: list[bytes], reduction: Reduction | None = None) -> list[bytes]:
    """Return images as they are kept in a folder."""
    store = ImageStore(folder, reduction=reduction)
    names = store.keep_all(contents, root=folder, cache=folder)
    store.close()
    return [KeptImages(folder).read(str(name)) for name in names]


@pytest.mark.parametrize(
    "given",
    [
        ((620, 877), "RGB", "PNG"),
        ((620, 877), "RGB", "JPEG"),
        ((877, 621), "L", "PNG"),
        ((1001, 333), "P", "PNG"),
        ((333, 1999), "RGBA", "WEBP"),
    ],
)
def test_the_model_gets_the_same_numbers_from_a_reduced_image(
    model: Any, reduction: Reduction, tmp_path: Path, given: tuple[tuple[int, int], str, str]
) -> None:
    size, mode, form = given
    content = bytes_of(page(size, mode), form)

    (whole,), (small,) = kept_in(tmp_path / "whole", [content]), kept_in(tmp_path / "small", [content], reduction)

    contents = {"whole": whole, "small": small}
    inputs = {name: model.preprocess([open_image(one)])["pixel_values"] for name, one in contents.items()}
    assert len(small) < len(whole)
    assert (inputs["small"] == inputs["whole"]).all()


def test_an_image_that_the_model_sees_larger_or_as_it_is_stays_the_file_that_it_was(
    reduction: Reduction, tmp_path: Path
) -> None:
    contents = [bytes_of(page(size), "JPEG") for size in ((16, 16), (64, 96))]

    assert kept_in(tmp_path, contents, reduction) == contents


def test_images_are_kept_where_a_system_does_not_tell_which_cpus_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS

    assert kept_in(tmp_path, [png("red")]) == [png("red")]


def test_a_reduced_image_is_not_made_again_and_has_the_name_of_its_content_and_of_the_size(
    reduction: Reduction, tmp_path: Path
) -> None:
    content = bytes_of(page((620, 877)), "PNG")
    for _ in range(2):
        kept_in(tmp_path, [content], reduction)
    kept_in(tmp_path, [content])

    name = hashlib.sha256(content).hexdigest()
    assert KeptImages(tmp_path).index["name"].to_pylist() == [name, f"{name}-{reduction.key}"]


@pytest.mark.parametrize("form", sorted(EXTENSIONS))
def test_an_image_of_each_format_is_kept_as_it_is_without_a_reduction(tmp_path: Path, form: str) -> None:
    content = bytes_of(page((62, 88)), form)
    check = (
        "import sys; from pathlib import Path; from finetune_trainer.prepare.images.store import ImageStore\n"
        "folder = Path(sys.argv[1]); store = ImageStore(folder / 'kept')\n"
        "print(*store.keep_all([(folder / 'given').read_bytes()], root=folder, cache=folder)); store.close()"
    )
    (tmp_path / "given").write_bytes(content)

    # In a process of its own: once Pillow has opened one file of a format, it knows that format.
    kept = subprocess.run([sys.executable, "-c", check, str(tmp_path)], check=True, capture_output=True, text=True)

    assert KeptImages(tmp_path / "kept").read(kept.stdout.strip()) == content


def test_a_broken_image_is_told_before_it_is_reduced(reduction: Reduction, tmp_path: Path) -> None:
    content = bytes_of(page((620, 877)), "PNG")[:2000]

    kept = ImageStore(tmp_path, reduction=reduction).keep_all([content], root=tmp_path, cache=tmp_path)

    assert kept == [Fault("image cannot be decoded")]


def test_another_size_has_another_key(tiny_model: Path, reduction: Reduction) -> None:
    from transformers import AutoImageProcessor

    larger = AutoImageProcessor.from_pretrained(tiny_model, size={**SIZE, "longest_edge": 128 * 128})

    assert replace(reduction, processor=larger).key != reduction.key


GUIDE = {"name": "GISTEmbedLoss", "guide": {"source": "hf://demo/guide"}}


@pytest.mark.parametrize(
    "parts",
    [
        {"training": {"loss": GUIDE}},
        {"train": {"loss": GUIDE}},
        {"train": {"mineNegatives": {"source": "hf://demo/miner"}}},
    ],
)
def test_images_stay_whole_where_a_second_model_looks_at_them(model: Any, parts: dict[str, Any]) -> None:
    assert reduction_for(model, spec_of(**parts)) is None


def test_images_stay_whole_where_calls_of_the_processor_have_settings_of_their_own(tiny_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model), device="cpu")
    model[0].processing_kwargs = {**model[0].processing_kwargs, "image": {"size": SIZE}}

    assert reduction_for(model, spec_of()) is None


def test_a_text_model_has_nothing_to_reduce(text_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    assert reduction_for(SentenceTransformer(str(text_model), device="cpu"), spec_of()) is None


def test_prepare_reduces_pages_to_what_processor_kwargs_say(make_run: MakeRun, claim: Path, tiny_model: Path) -> None:
    from transformers import AutoImageProcessor

    write_pages(
        claim / "pages", train=[{"query": f"q {n}", "image": bytes_of(page((620, 877 + n)), "JPEG")} for n in range(2)]
    )
    shutil.copytree(tiny_model, claim / "tiny")
    columns = {"query": "query", "positive": "image"}
    run = make_run(
        model={"source": "pvc://inputs/tiny", "processorKwargs": {"size": SIZE}},
        data={"train": [{"name": "pages", "source": "pvc://inputs/pages", "columns": columns}]},
    )

    prepare(run.config, run.settings)

    sizes = [open_image(kept(run, row["positive"])).size for row in read(run.workspace.train_table("pages"))]
    expected = AutoImageProcessor.from_pretrained(tiny_model, size=SIZE)(images=[page((620, 877))])["image_grid_thw"]
    patch = expected[0].tolist()
    assert sizes == [(patch[2] * 16, patch[1] * 16)] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_the_right_way_up_for_the_model_as_it_is_for_the_datasets_library(
    reduction: Reduction, tmp_path: Path, orientation: int
) -> None:
    import datasets

    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    page((400, 300)).save(buffer, format="PNG", exif=exif)
    expected = datasets.Image().decode_example({"bytes": buffer.getvalue(), "path": None}).convert("RGB")

    (whole,) = kept_in(tmp_path / "whole", [buffer.getvalue()])
    (small,) = kept_in(tmp_path / "small", [buffer.getvalue()], reduction)

    seen, reduced = open_image(whole), open_image(small)
    assert seen.tobytes() == expected.tobytes()
    assert (reduced.width > reduced.height) == (expected.width > expected.height)
