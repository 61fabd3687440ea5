import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cluster import disk, paths


def test_too_full_a_disk_is_told_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(disk, "free_bytes", lambda _: 3 * disk.GIB // 2)

    disk.check(1, what="a small thing")
    with pytest.raises(SystemExit) as refused:
        disk.check(2, what="a running cluster")

    assert str(refused.value) == (
        f"disk: {tmp_path / 'cache'} has 1.5 GiB left, but a running cluster needs 2 GiB; "
        "make room, or set XDG_CACHE_HOME to a folder of a bigger disk"
    )


def test_blocks_that_are_reserved_do_not_count_as_free_not_even_for_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_frsize=4096, f_bfree=10_000, f_bavail=100))

    assert disk.free_bytes(tmp_path) == 4096 * 100
