"""Every image once, named by the SHA-256 of its bytes, and only if it can really be decoded."""

import hashlib
import io
import os
import uuid
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

#: Formats by content; others are read by parsers with a bad record, or by other programs.
EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}
MAX_PIXELS = 100_000_000
#: Qwen's image processors refuse more, after hours of training.
MAX_ASPECT_RATIO = 199


@dataclass(frozen=True)
class Fault:
    """Why one cell cannot be used; says nothing of its content."""

    because: str


class ImageStore:
    """The folder of images. Safe to write from several threads, and again after an interruption."""

    def __init__(self, folder: Path, *, num_threads: int | None = None) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(num_threads or len(os.sched_getaffinity(0)))

    def keep_all(self, cells: Iterable[Any], *, root: Path, cache: Path) -> list[str | Fault]:
        """Return for each cell the image's path below the folder, or why there is none; in order.

        A cell is bytes, or a mapping with `bytes` or a `path` that lies below `root` or `cache`.
        """
        return list(self._pool.map(lambda cell: self._keep(cell, root=root, cache=cache), cells))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _keep(self, cell: Any, *, root: Path, cache: Path) -> str | Fault:  # noqa: ANN401 - a cell of a table
        content = read_cell(cell, root=root, cache=cache)
        if isinstance(content, Fault):
            return content
        name = hashlib.sha256(content).hexdigest()
        known = self._known(name, len(content))
        if known is not None:
            return known
        extension = decoded_extension(content)
        if isinstance(extension, Fault):
            return extension
        path = f"{name[:2]}/{name}.{extension}"
        self._write(path, content)
        return path

    def _known(self, name: str, size_bytes: int) -> str | None:
        for path in (self._folder / name[:2]).glob(f"{name}.*"):
            if path.suffix != ".partial" and path.stat().st_size == size_bytes:
                return f"{name[:2]}/{path.name}"
        return None

    def _write(self, path: str, content: bytes) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{uuid.uuid4().hex}.partial")
        partial.write_bytes(content)
        partial.rename(target)


def read_cell(cell: Any, *, root: Path, cache: Path) -> bytes | Fault:  # noqa: ANN401 - a cell of a table
    """Return the bytes of an image cell; never reads a file outside `root` and `cache`."""
    if isinstance(cell, bytes):
        return cell or Fault("empty image")
    if not isinstance(cell, Mapping):
        return Fault("no image")
    if cell.get("bytes"):
        return bytes(cell["bytes"])
    return _read_file(cell["path"], root=root, cache=cache) if cell.get("path") else Fault("no image")


def _read_file(name: str, *, root: Path, cache: Path) -> bytes | Fault:
    if "://" in name:
        return Fault("image by address, which is never fetched")
    path = (root / name).resolve()
    if not any(path.is_relative_to(allowed.resolve()) for allowed in (root, cache)):
        return Fault("image path leads out of the dataset")
    try:
        return path.read_bytes() or Fault("empty image")
    except OSError:
        return Fault("image file missing; paths are relative to the dataset's folder")


def decoded_extension(content: bytes) -> str | Fault:
    """Return the file extension of an image that decodes whole, or why it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata; size is checked below
            with Image.open(io.BytesIO(content), formats=list(EXTENSIONS)) as image:
                if image.width * image.height > MAX_PIXELS:
                    return Fault(f"image has more than {MAX_PIXELS} pixels")
                if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
                    return Fault(f"image is more than {MAX_ASPECT_RATIO} times longer than wide")
                image.load()
                return EXTENSIONS[str(image.format)]
    except Image.DecompressionBombError:
        return Fault(f"image has more than {MAX_PIXELS} pixels")
    except Exception:  # noqa: BLE001 - decoders raise all sorts of things on broken bytes
        return Fault("image cannot be decoded")
