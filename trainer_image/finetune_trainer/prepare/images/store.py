"""Every image once, named by the SHA-256 of its bytes, and only if it can really be decoded.

Where the model's image processor would make it smaller anyway, it is kept as small, under the same name with an
addition: the model gets the same numbers, and each later reading costs a part.
"""

import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from finetune_trainer.prepare.fetch.addresses import Addresses, Refused, is_address
from finetune_trainer.prepare.images.cpus import usable_cpus
from finetune_trainer.prepare.images.fetched import FetchedImages
from finetune_trainer.prepare.images.formats import format_of, remedy_for
from finetune_trainer.prepare.images.memory import Room, memory_for_images
from finetune_trainer.prepare.images.shards import ShardWriter
from finetune_trainer.prepare.scans.findings import excerpt, listed
from finetune_trainer.recipe.model.pixels import as_seen

if TYPE_CHECKING:
    from finetune_trainer.prepare.images.reduction import Reduction

#: Formats by content; others are read by parsers with a bad record, or by other programs.
EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tiff"}
#: How they are named for opening, where JPEG stands for MPO as well; Pillow takes an unknown name for an error.
OPENED = sorted({*EXTENSIONS} - {"MPO"})
#: Per side; WebP counts them in 14 bits.
WEBP_PIXELS = 16_383
MAX_PIXELS = 100_000_000
#: Qwen's image processors refuse more, after hours of training.
MAX_ASPECT_RATIO = 199
#: What is taken and may not be meant.
ONE_COLOUR = "of one single colour"
NEARLY_BLACK = "nearly black all over, as 12 bits in 16 are that were not scaled to the whole range"
FRAMES = "of several frames or pages, of which the first is taken"
#: Pixels per side of what is looked at first.
_SAMPLE = 16
_DARK = 24  # of 255; 4,095 of 65,535 are 16
_WITH_FRAMES = ("GIF", "WEBP", "TIFF", "PNG")
_ARCHIVE = "zip://"
#: A pod without a limit sees all CPUs of its node.
_DECODED_AT_ONCE = 16
#: From what is stored to what the model sees, measured: 4 in colours, 8 where they are made of others, 27 where grey
#: values of more than 8 bits are scaled.
_BYTES_PER_PIXEL, _BYTES_PER_WIDE_PIXEL = 8, 28
_DOWNLOADS_AT_ONCE = 8
_DIGEST = 64  # hexadecimal digits of SHA-256, with which names begin

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """Why one cell cannot be used; says nothing of its content."""

    because: str
    """What is wrong; after a semicolon, what to do or to know."""


@dataclass(frozen=True)
class Made:
    """An image to keep that is not there yet."""

    name: str
    content: bytes
    extension: str
    remarks: tuple[str, ...]


class ImageStore:
    """Keeps the images of rows; what an earlier try has kept is not decoded again. Called from one thread."""

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        folder: Path,
        *,
        addresses: Addresses | None = None,
        fetched: FetchedImages | None = None,
        reduction: "Reduction | None" = None,
        num_threads: int | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self._shards = ShardWriter(folder)
        self._fetched_before = fetched
        self._reduction = reduction
        self._addresses = addresses or Addresses.of([])
        threads = num_threads or min(_DECODED_AT_ONCE, usable_cpus())
        memory_bytes = memory_for_images() if memory_bytes is None else memory_bytes
        self._room = Room(memory_bytes)
        self._pool = ThreadPoolExecutor(threads)
        _log.info("images are read by threads", extra={"threads": threads, "memory_mb": memory_bytes // 1_000_000})
        self._downloads = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE)
        self._fetched: dict[str, str | Fault | Future[Made | str | Fault]] = {}
        names, remarks = (self._shards.index[column].to_pylist() for column in ("name", "remarks"))
        self._names = set(names)
        self._remarks = {name: tuple(found) for name, found in zip(names, remarks, strict=True) if found}

    def remarks_on(self, name: str) -> tuple[str, ...]:
        """Return what is odd about a kept image: ONE_COLOUR, NEARLY_BLACK, FRAMES."""
        return self._remarks.get(name, ())

    def keep_all(self, cells: Sequence[Any], *, root: Path, cache: Path) -> list[str | Fault]:
        """Return for each cell the image's name, or why there is none; in order.

        A cell is bytes, a name, or a mapping with `bytes` or a `path` that is a name. A name is a path that lies below
        `root` or `cache`, or an address, which is fetched once.
        """
        return self.begin(cells, root=root, cache=cache)()

    def begin(self, cells: Sequence[Any], *, root: Path, cache: Path) -> Callable[[], list[str | Fault]]:
        """Begin with what `keep_all` does in other threads; what is returned waits for them and does the rest.

        Images are kept in the order in which they are waited for, whichever thread is done first.
        """
        begun = [self._begin(cell, root, cache) for cell in cells]
        return lambda: [self._end(one) for one in begun]

    def _begin(self, cell: Any, root: Path, cache: Path) -> "str | Future[Made | str | Fault]":  # noqa: ANN401
        """Return what to wait for: a thread, or an address that a thread fetches."""
        address = address_of(cell)
        if address is None:
            return self._pool.submit(lambda: self._make(read_cell(cell, root=root, cache=cache)))
        if address not in self._fetched:
            self._fetched[address] = self._downloads.submit(self._fetch, address)
        return address

    def _end(self, begun: "str | Future[Made | str | Fault]") -> str | Fault:
        if isinstance(begun, Future):
            return self._keep(begun.result())
        found = self._fetched[begun]
        if isinstance(found, Future):
            found = self._fetched[begun] = self._keep(found.result())
            if self._fetched_before and not isinstance(found, Fault):
                self._fetched_before.add(begun, found[:_DIGEST])
        return found

    def commit(self) -> None:
        """Make sure that all images so far can be read."""
        self._shards.commit()

    def close(self) -> None:
        """End the threads; all images are there to stay."""
        self._pool.shutdown(cancel_futures=True)
        self._downloads.shutdown(cancel_futures=True)
        self._addresses.pools.close()
        if self._fetched_before:
            self._fetched_before.close()
        self._shards.close()

    def _fetch(self, address: str) -> Made | str | Fault:
        try:
            self._addresses.check(address)
            digest = self._fetched_before and self._fetched_before.get(address)
            if digest and (known := self._known(digest)):
                return known
            return self._make(self._addresses.fetch(address) or Fault("empty image"))
        except Refused as refused:
            return Fault(refused.because)

    def _make(self, content: bytes | Fault) -> Made | str | Fault:
        """Return what to keep of an image, or its name if it is there; in any thread."""
        if isinstance(content, Fault):
            return content
        digest = hashlib.sha256(content).hexdigest()
        if known := self._known(digest):
            return known
        with self._room.taken(decoded_bytes(content)):
            return self._made(digest, content)

    def _made(self, digest: str, content: bytes) -> Made | Fault:
        image = decode(content)
        if isinstance(image, Fault):
            return image
        form = str(image.format)
        seen = as_seen(image)
        remarks = tuple(_remarks(form, seen, content))
        if self._reduction and (reduced := self._reduction.reduce(seen)):
            return Made(self._reduced(digest), *encode(reduced), remarks)
        return Made(digest, content, EXTENSIONS[form], remarks)

    def _known(self, digest: str) -> str | None:
        """Return the name under which an image is there, None if it is not."""
        return next((name for name in (self._reduced(digest), digest) if name in self._names), None)

    def _reduced(self, digest: str) -> str:
        return f"{digest}-{self._reduction.key}" if self._reduction else digest

    def _keep(self, made: Made | str | Fault) -> str | Fault:
        if not isinstance(made, Made):
            return made
        if made.name not in self._names:
            self._shards.add(made.name, made.content, extension=made.extension, remarks=made.remarks)
            self._names.add(made.name)
            if made.remarks:
                self._remarks[made.name] = made.remarks
        return made.name


def encode(image: Image.Image) -> tuple[bytes, str]:
    """Return an RGB image without loss and the extension of its format: WebP, and PNG of what WebP has no room for."""
    buffer = io.BytesIO()
    if max(image.size) > WEBP_PIXELS:
        image.save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue(), "png"
    image.save(buffer, format="WEBP", lossless=True, quality=0, method=0)  # the quality of what is lossless is effort
    return buffer.getvalue(), "webp"


def address_of(cell: Any) -> str | None:  # noqa: ANN401 - a cell of a table
    """Return the address by which a cell names its image; None if it holds bytes, a path or nothing."""
    if isinstance(cell, Mapping):
        cell = None if cell.get("bytes") else cell.get("path")
    return cell if isinstance(cell, str) and is_address(cell) and not cell.startswith(_ARCHIVE) else None


def read_cell(cell: Any, *, root: Path, cache: Path) -> bytes | Fault:  # noqa: ANN401 - a cell of a table
    """Return the bytes of an image cell; never reads a file outside `root` and `cache`."""
    if isinstance(cell, bytes):
        return cell or Fault("empty image")
    if isinstance(cell, str):
        cell = {"path": cell}
    if not isinstance(cell, Mapping):
        return Fault("no image")
    if cell.get("bytes"):
        return bytes(cell["bytes"])
    return _read_file(cell["path"], root=root, cache=cache) if cell.get("path") else Fault("no image")


def _read_file(name: str, *, root: Path, cache: Path) -> bytes | Fault:
    if name.startswith(_ARCHIVE):
        return _missing(name, root)
    try:
        path = (root / name).resolve()
        if not any(path.is_relative_to(allowed.resolve()) for allowed in (root, cache)):
            return Fault("image path leads out of the dataset")
        return (path.read_bytes() or Fault("empty image")) if path.is_file() else _missing(name, root)
    except (OSError, ValueError):  # a name may hold what no file system takes
        return _missing(name, root)


def _missing(name: str, root: Path) -> Fault:
    inside, _, archive = name.removeprefix(_ARCHIVE).partition("::")
    archives = [Path(archive).name] if archive else _archives(root)
    unread = f"; pictures inside {listed(archives)} are not read, unpack it" if archives else ""
    shown = excerpt(inside.removeprefix(f"{root}/"))
    if name.startswith("data:"):
        return Fault("image written as a data: address; give a column of bytes")
    return Fault(f"image file {shown} is missing; paths are relative to the dataset's folder{unread}")


@cache
def _archives(root: Path) -> list[str]:
    """Return the archives of a dataset, in which pictures may have been left."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.zip"))


def _remarks(form: str, seen: Image.Image, content: bytes) -> Iterator[str]:
    """Yield what is odd about an image; `seen` is how the model sees it."""
    if form in _WITH_FRAMES and _has_frames(content):
        yield FRAMES
    # Some pixels tell nearly all images from the odd ones; looking at all takes a sixth of the time of a page.
    some = _extremes(seen.resize((_SAMPLE, _SAMPLE), Image.Resampling.NEAREST))
    if all(least == most for least, most in some) or max(most for _, most in some) < _DARK:
        extremes = _extremes(seen)
        if all(least == most for least, most in extremes):
            yield ONE_COLOUR
        elif max(most for _, most in extremes) < _DARK:
            yield NEARLY_BLACK


def _extremes(seen: Image.Image) -> list[tuple[int, int]]:
    extremes: Any = seen.getextrema()
    return list(extremes)


def _has_frames(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content), formats=OPENED) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - a broken second frame is none
        return False


def is_readable(content: bytes) -> bool:
    """Say whether content begins as an image of a format that is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(io.BytesIO(content), formats=OPENED).close()
    except Image.DecompressionBombError:
        return True
    except Exception:  # noqa: BLE001 - as below
        return False
    return True


def decoded_bytes(content: bytes) -> int:
    """Return what an image takes while it is decoded, by what it says of itself; 0 if it says nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=OPENED) as image:
                per_pixel = _BYTES_PER_WIDE_PIXEL if image.mode.startswith(("I", "F")) else _BYTES_PER_PIXEL
                return image.width * image.height * per_pixel
    except Exception:  # noqa: BLE001 - `decode` tells
        return 0


def decode(content: bytes) -> Image.Image | Fault:
    """Return an image that decodes whole, or why it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata; size is checked below
            with Image.open(io.BytesIO(content), formats=OPENED) as image:
                if image.width * image.height > MAX_PIXELS:
                    return Fault(f"image has more than {MAX_PIXELS} pixels")
                if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
                    return Fault(f"image is more than {MAX_ASPECT_RATIO} times longer than wide")
                image.load()
                return image
    except Image.DecompressionBombError:
        return Fault(f"image has more than {MAX_PIXELS} pixels")
    except Exception:  # noqa: BLE001 - decoders raise all sorts of things on broken bytes
        name = format_of(content)
        return Fault(f"image is {name}, which is not read; {remedy_for(name)}" if name else "image cannot be decoded")
