"""Pages resized once, when they are prepared, to what the processor makes of them anyway, and stored without loss."""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image
from transformers import AutoImageProcessor

from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.setting import Setting
from benchmarks.training.recipe import PUBLISHED_PIXELS
from finetune_trainer.model.inputs import open_image

PAGES = 32
FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True, "quality": 0, "method": 0},
}


def measure_resizing(setting: Setting) -> list[Finding]:
    """Milliseconds and bytes per page from file to model input, of whole and of resized pages."""
    paths = [path for path in sorted(setting.workspace.images.rglob("*")) if path.is_file()][:PAGES]
    model = str(setting.workspace.base_model)
    return [
        finding
        for size in (None, PUBLISHED_PIXELS["size"])
        for form in FORMATS
        for finding in measure_format(paths, AutoImageProcessor.from_pretrained(model, **as_size(size)), form)
    ]


def as_size(size: dict[str, int] | None) -> dict[str, Any]:
    """Return the processor's arguments for images of so many pixels; None for what the model comes with."""
    return {} if size is None else {"size": size}


def measure_format(paths: list[Path], processor: Any, form: str) -> list[Finding]:  # noqa: ANN401 - the library's
    """Return what pages cost that are stored in one format."""
    with tempfile.TemporaryDirectory() as folder:
        resize = partial(store_all, paths, Path(folder), processor, form)
        resized = resize()
        off, on, once = seconds_of(read(paths, processor), read(resized, processor), resize)
        with Image.open(resized[0]) as first:
            name = f"pages resized to {first.width} x {first.height}, as {form}"
        difference = max(pixel_difference(*pair, processor) for pair in zip(paths, resized, strict=True))
        note = f"{1000 * once / len(paths):.1f} ms per page once; inputs differ by {difference:g}"
        return [
            Finding(name, "ms per page", 1000 * off / len(paths), 1000 * on / len(paths), note),
            Finding(name, "kB per page", kilobytes(paths), kilobytes(resized)),
        ]


def store_all(paths: list[Path], *where: Any) -> list[Path]:  # noqa: ANN401 - arguments of `store`
    """Write all pages; return where."""
    return [store(path, *where) for path in paths]


def store(path: Path, folder: Path, processor: Any, form: str) -> Path:  # noqa: ANN401 - the library has no types
    """Write the page as the processor would resize it; return where."""
    target = folder / path.with_suffix(f".{form.lower()}").name
    resize_page(open_image(path), processor).save(target, format=form, **FORMATS[form])
    return target


def resize_page(page: Image.Image, processor: Any) -> Image.Image:  # noqa: ANN401 - the library has no types
    """Return the page in the size that a Qwen image processor gives it, resized by that processor itself."""
    resized = processor.resize(
        images=pil_to_tensor(page)[None],
        size=processor.size,
        resample=processor.resample,
        factor=processor.patch_size * processor.merge_size,
    )
    small: Image.Image = to_pil_image(resized[0])
    return small


def read(paths: list[Path], processor: Any) -> Callable[[], None]:  # noqa: ANN401 - as above
    """Return the work of turning files into model inputs one by one."""

    def run() -> None:
        for path in paths:
            processor(images=[open_image(path)], return_tensors="pt")

    return run


def pixel_difference(whole: Path, resized: Path, processor: Any) -> float:  # noqa: ANN401 - as above
    """Return the largest difference of the model inputs that two files give; infinite if their shapes differ."""
    one, other = (
        processor(images=[open_image(path)], return_tensors="pt")["pixel_values"] for path in (whole, resized)
    )
    return float((one - other).abs().max()) if one.shape == other.shape else math.inf


def kilobytes(paths: list[Path]) -> float:
    """Return the mean size of the files."""
    return sum(path.stat().st_size for path in paths) / len(paths) / 1000
