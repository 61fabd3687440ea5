"""Pages that prepare makes as small as the image processor would make them in every epoch and evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from transformers import AutoImageProcessor

from benchmarks.training.embedders import PUBLISHED_PIXELS
from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.setting import Setting
from benchmarks.training.recipe import Recipe
from benchmarks.training.reference.shared import load_rows
from finetune_trainer.prepare.images.reduction import Reduction
from finetune_trainer.prepare.images.store import ImageStore
from finetune_trainer.recipe.model.inputs import open_image
from finetune_trainer.workspace.images import KeptImages

PAGES = 32


def measure_resizing(setting: Setting) -> list[Finding]:
    """Milliseconds and bytes per page from file to model input, of whole and of reduced pages."""
    pages, folder = read_pages(setting.recipe), setting.workspace.root.parent / "resizing"
    model = str(setting.workspace.base_model)
    return [
        finding
        for size in (None, PUBLISHED_PIXELS["size"])
        for finding in measure_size(pages, AutoImageProcessor.from_pretrained(model, **as_size(size)), folder)
    ]


def as_size(size: dict[str, int] | None) -> dict[str, Any]:
    """Return the processor's arguments for images of so many pixels; None for what the model comes with."""
    return {} if size is None else {"size": size}


def read_pages(recipe: Recipe) -> list[bytes]:
    """Return the files of the first training pages."""
    rows = load_rows(recipe, recipe.train).cast_column(recipe.positive, datasets.Image(decode=False))
    return [row[recipe.positive]["bytes"] for row in rows.select(range(PAGES))]


def measure_size(pages: list[bytes], processor: Any, folder: Path) -> list[Finding]:  # noqa: ANN401 - the library's
    """Return what pages cost, for a processor of one size."""
    reduction = Reduction(processor)

    def keep(name: str, with_reduction: Reduction | None) -> list[bytes]:
        root = folder / f"{name}-{reduction.key}"
        store = ImageStore(root, reduction=with_reduction, num_threads=1)
        names = store.keep_all(pages, root=root, cache=root)
        store.close()
        return [KeptImages(root).read(str(name)) for name in names]

    kept = {"whole": keep("whole", None), "reduced": keep("reduced", reduction)}
    whole, reduced = (read(found, processor) for found in kept.values())
    reduce = lambda: [reduction.reduce(open_image(one)) for one in kept["whole"]]  # noqa: E731 - a piece of work
    off, on, once = seconds_of(whole, reduced, reduce)
    first = open_image(kept["reduced"][0])
    name = f"pages reduced to {first.width} x {first.height}"
    note = f"{1000 * once / len(pages):.1f} ms per page once; inputs equal: {inputs_equal(kept, processor)}"
    return [
        Finding(name, "ms per page", 1000 * off / len(pages), 1000 * on / len(pages), note),
        Finding(name, "kB per page", kilobytes(kept["whole"]), kilobytes(kept["reduced"])),
    ]


def read(contents: list[bytes], processor: Any) -> Callable[[], None]:  # noqa: ANN401 - as above
    """Return the work of turning images into model inputs one by one."""

    def run() -> None:
        for content in contents:
            processor(images=[open_image(content)], return_tensors="pt")

    return run


def inputs_equal(kept: dict[str, list[bytes]], processor: Any) -> bool:  # noqa: ANN401 - as above
    """Return whether the model gets the same numbers from both of every page."""
    pairs = zip(kept["whole"], kept["reduced"], strict=True)
    inputs = (
        [processor(images=[open_image(one)], return_tensors="pt")["pixel_values"] for one in pair] for pair in pairs
    )
    return all(one.shape == other.shape and bool((one == other).all()) for one, other in inputs)


def kilobytes(contents: list[bytes]) -> float:
    """Return the mean size of images."""
    return sum(map(len, contents)) / len(contents) / 1000
