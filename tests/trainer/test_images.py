"""Images in archives: few files, read by name, and nothing lost, read again or believed that a kill has torn."""

import io
import os
import pickle
import random
import signal
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from PIL import Image

from finetune_trainer.prepare.images import memory, store
from finetune_trainer.prepare.images.cpus import usable_cpus
from finetune_trainer.prepare.images.shards import ShardWriter
from finetune_trainer.prepare.images.store import WEBP_PIXELS, ImageStore, encode
from finetune_trainer.recipe.model.inputs import open_image
from finetune_trainer.recipe.model.pixels import as_seen
from finetune_trainer.workspace.images import KeptImages
from tests.trainer.conftest import MakeRun, png, write_pages
from tests.trainer.laying_out import lay_out, read, text_run

if TYPE_CHECKING:
    from finetune_trainer.prepare.images.reduction import Reduction

IMAGES = {f"image-{number}": random.Random(number).randbytes(900 + number) for number in range(40)}


def write(folder: Path, names: list[str], *, commit_seconds: float = 60) -> ShardWriter:
    """Return a writer that has added images and is still at work."""
    writer = ShardWriter(folder, shard_bytes=10_000, commit_seconds=commit_seconds)
    for name in names:
        writer.add(name, IMAGES[name], extension="png")
    return writer


def stop(writer: ShardWriter) -> None:
    """Let the writer have written what it has added, and no more."""
    writer._file.close()


def kept(folder: Path) -> dict[str, bytes]:
    images = KeptImages(folder)
    return {name: images.read(name) for name in images.index["name"].to_pylist()}


def packed(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_images_come_back_from_a_few_archives_that_any_tar_reads(tmp_path: Path) -> None:
    write(tmp_path, list(IMAGES)).close()

    archives = sorted(tmp_path.glob("*.tar"))
    assert kept(tmp_path) == IMAGES
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"{n:05}.tar" for n in range(6)] + ["index.arrow"]
    assert [name for path in archives for name in packed(path)] == [f"{name}.png" for name in IMAGES]


def test_threads_forked_processes_and_copies_read_from_one_reader(tmp_path: Path) -> None:
    write(tmp_path, list(IMAGES)).close()
    images = KeptImages(tmp_path)
    images.read("image-0")

    with ThreadPoolExecutor(4) as pool:
        read = dict(zip(IMAGES, pool.map(images.read, IMAGES), strict=True))
    if (child := os.fork()) == 0:
        os._exit(int(any(images.read(name) != content for name, content in IMAGES.items())))

    assert read == IMAGES
    assert os.waitpid(child, 0)[1] == 0
    assert pickle.loads(pickle.dumps(images)).read("image-7") == IMAGES["image-7"]


def test_what_was_committed_outlives_a_kill_and_what_was_not_is_cut_off(tmp_path: Path) -> None:
    names = list(IMAGES)
    writer = write(tmp_path, names[:10])
    writer.commit()
    writer.add(names[10], IMAGES[names[10]], extension="png")
    stop(writer)
    assert list(kept(tmp_path)) == sorted(names[:10])

    write(tmp_path, names[10:12]).close()

    assert kept(tmp_path) == {name: IMAGES[name] for name in names[:12]}
    assert [len(packed(path)) for path in sorted(tmp_path.glob("*.tar"))] == [7, 3, 2]


def test_an_archive_of_which_nothing_was_committed_is_removed(tmp_path: Path) -> None:
    stop(write(tmp_path, list(IMAGES)[:3]))

    write(tmp_path, []).close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 500, 1_500, 10_000])
def test_an_archive_that_is_shorter_than_its_index_says_is_not_believed(tmp_path: Path, size: int) -> None:
    names = list(IMAGES)
    write(tmp_path, names[:20]).close()
    os.truncate(tmp_path / "00001.tar", min(size, 8_000))

    write(tmp_path, []).close()

    assert kept(tmp_path) == {name: IMAGES[name] for name in [*names[:7], *names[14:20]]}
    assert not (tmp_path / "00001.tar").exists()


def test_a_kill_between_the_joint_index_and_the_removal_of_the_others_changes_nothing(tmp_path: Path) -> None:
    names = list(IMAGES)
    writer = write(tmp_path, names[:3])
    writer.commit()
    other = (tmp_path / "00000.arrow").read_bytes()
    writer.close()
    (tmp_path / "00000.arrow").write_bytes(other)

    assert kept(tmp_path) == {name: IMAGES[name] for name in names[:3]}
    write(tmp_path, names[3:5]).close()
    assert kept(tmp_path) == {name: IMAGES[name] for name in names[:5]}


def test_bytes_that_have_changed_are_told_and_not_decoded(tmp_path: Path) -> None:
    write(tmp_path, ["image-0"]).close()
    archive = tmp_path / "00000.tar"
    archive.write_bytes(archive.read_bytes().replace(IMAGES["image-0"][:8], b"--------"))

    with pytest.raises(OSError, match=r"image image-0 in .*00000\.tar has changed since it was written"):
        KeptImages(tmp_path).read("image-0")


def test_a_name_that_is_not_there_is_told(tmp_path: Path) -> None:
    write(tmp_path, ["image-0"]).close()

    with pytest.raises(FileNotFoundError, match=r"image image-00 is not in"):
        KeptImages(tmp_path).read("image-00")


def test_images_that_an_earlier_version_laid_out_as_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "abcd.png").write_bytes(b"content")

    assert KeptImages(tmp_path).read("ab/abcd.png") == b"content"


def test_an_image_that_an_earlier_try_has_kept_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents, tries = [png("red"), b"broken", png("red"), png("blue")], []
    for _ in range(2):
        images = ImageStore(tmp_path, num_threads=2)
        tries.append(images.keep_all(contents, root=tmp_path, cache=tmp_path))
        images.close()
        monkeypatch.setattr(store, "as_seen", None)

    assert tries[0] == tries[1]


@pytest.mark.parametrize("added", [1, 2, 5, 9])
def test_a_killed_prepare_is_taken_up_where_it_was_and_ends_like_one_that_was_not(
    make_run: MakeRun, claim: Path, monkeypatch: pytest.MonkeyPatch, added: int
) -> None:
    pages = [png(size=(32 + number % 9, 32)) for number in range(20)]
    write_pages(claim / "qa", train=[{"query": f"q{n}", "image": page} for n, page in enumerate(pages)])
    run = text_run(make_run, columns={"query": "query", "positive": "image"})
    if (child := os.fork()) == 0:
        kill_while_adding(monkeypatch, image=added)
        lay_out(run)
    assert os.waitpid(child, 0)[1] == 9
    seen: set[int] = set()

    def see(image: Image.Image) -> Image.Image:
        seen.add(image.width)
        return as_seen(image)

    monkeypatch.setattr(store, "as_seen", see)

    lay_out(run)

    rows = read(run.workspace.train_table("qa"))
    assert [KeptImages(run.workspace.images).read(row["positive"]) for row in rows] == pages
    assert seen == set(range(32 + added - 1, 41))


def kill_while_adding(monkeypatch: pytest.MonkeyPatch, *, image: int) -> None:
    """Let this process be killed while it writes an image, and commit each before."""
    add, pushed = ShardWriter.add, []

    def add_and_commit(writer: ShardWriter, name: str, content: bytes, **settings: Any) -> None:  # noqa: ANN401
        pushed.append(name)
        if len(pushed) == image:
            add(writer, name, content[:100], **settings)
            writer._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        add(writer, name, content, **settings)
        writer.commit()

    monkeypatch.setattr(ShardWriter, "add", add_and_commit)


@pytest.mark.parametrize(
    ("limit", "cpus"), [("max 100000", 6), ("150000 100000", 2), ("50000 100000", 1), ("900000 100000", 6), (None, 6)]
)
def test_as_many_threads_as_the_container_may_use_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
    monkeypatch.setattr("finetune_trainer.prepare.images.cpus.CPU_MAX", tmp_path / "cpu.max")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(f"{limit}\n")

    assert usable_cpus() == cpus


@pytest.mark.parametrize(
    ("limit", "left"), [("8000000", 4_000_000 - 3 * 2048), ("4096", 0), ("max", None), (None, None)]
)
def test_images_may_take_half_of_the_memory_that_is_left_of_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, left: int | None
) -> None:
    machine = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}
    monkeypatch.setattr(os, "sysconf", machine.__getitem__)
    monkeypatch.setattr(memory, "MEMORY_MAX", tmp_path / "memory.max")
    monkeypatch.setattr(memory, "STATM", tmp_path / "statm")
    (tmp_path / "statm").write_text("9 3 1 1 0 1 0\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")

    assert memory.memory_for_images() == (left if left is not None else (1_000_000 - 3) * 2048)


class Busy:
    """Counts images that are made smaller, which none is, and how many at once; each waits until so many are."""

    key = "busy"

    def __init__(self, at_once: int) -> None:
        self.barrier = threading.Barrier(at_once)
        self.now = self.most = 0

    def reduce(self, _: Image.Image) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.barrier.wait(timeout=60)
        self.now -= 1


@pytest.mark.parametrize(("memory_bytes", "at_once"), [(0, 1), (8 * 100 * 100, 1), (2 * 8 * 100 * 100, 2)])
def test_as_many_images_are_decoded_at_once_as_fit_into_memory(
    tmp_path: Path, memory_bytes: int, at_once: int, caplog: pytest.LogCaptureFixture
) -> None:
    busy, cells = Busy(at_once), [png(f"rgb({number}, 9, 9)", size=(100, 100)) for number in range(8)]
    caplog.set_level("INFO")
    images = ImageStore(tmp_path, reduction=cast("Reduction", busy), num_threads=4, memory_bytes=memory_bytes)

    names = images.keep_all(cells, root=tmp_path, cache=tmp_path)
    images.close()

    assert busy.most == at_once
    assert len(set(names)) == len(cells)
    told = next(vars(record) for record in caplog.records if record.message == "images are read by threads")
    assert (told["threads"], told["memory_mb"]) == (4, 0)


@pytest.mark.parametrize(("mode", "num_bytes"), [("RGB", 80_000), ("P", 80_000), ("I;16", 280_000)])
def test_grey_values_of_more_than_8_bits_take_more_memory_than_colours(mode: str, num_bytes: int) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (100, 100)).save(buffer, format="PNG")

    assert store.decoded_bytes(buffer.getvalue()) == num_bytes
    assert store.decoded_bytes(b"no image") == 0


@pytest.mark.parametrize(("size", "extension"), [((64, 48), "webp"), ((WEBP_PIXELS + 1, 83), "png")])
def test_what_is_encoded_has_the_very_pixels(size: tuple[int, int], extension: str) -> None:
    image = Image.frombytes("RGB", size, random.Random(0).randbytes(size[0] * size[1] * 3))

    content, found = encode(image)

    assert found == extension
    assert open_image(content).tobytes() == image.tobytes()
