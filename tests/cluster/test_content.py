import os
from pathlib import Path

from tests.cluster.content import key_of, prune


def test_equal_contents_in_different_places_have_the_same_key(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "file").write_text("same")

    assert key_of(tmp_path / "one") == key_of(tmp_path / "two")


def test_a_renamed_file_changes_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("same")
    before = key_of(tmp_path)

    (tmp_path / "file").rename(tmp_path / "other")

    assert key_of(tmp_path) != before


def test_what_moves_between_two_inputs_changes_the_key() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")


def test_compiled_python_does_not_change_the_key(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("x = 1")
    before = key_of(tmp_path)

    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"compiled")

    assert key_of(tmp_path) == before


def test_only_what_nobody_asked_for_in_days_is_pruned(tmp_path: Path) -> None:
    for name in ("asked-for", "recent", "old"):
        (tmp_path / name).mkdir()
    for name in ("asked-for", "old"):
        os.utime(tmp_path / name, times=(0, 0))

    prune(tmp_path, keep="asked-for")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked-for", "recent"]
