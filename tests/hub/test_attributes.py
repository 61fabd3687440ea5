from datetime import UTC, datetime

import pytest

from tests.hub.attributes import DEFAULT_ATTRIBUTES, MAX_REGULAR_BYTES, is_ignored, is_large, is_text
from tests.hub.git_objects import blob_id, commit_id, tree_ids

TEXT = b"plain text"


@pytest.mark.parametrize(
    ("path", "size", "sample", "expected"),
    [
        ("config.json", 10, TEXT, False),
        ("config.json", MAX_REGULAR_BYTES, TEXT, False),
        ("config.json", MAX_REGULAR_BYTES + 1, TEXT, True),
        ("deep/model.safetensors", 10, TEXT, True),
        ("model.safetensors", 0, b"", False),
        ("model.safetensors.index.json", 10, TEXT, False),
        ("saved_model/a/b", 10, TEXT, True),
        ("saved_model/b", 10, TEXT, True),
        ("runs/events.out.tfevents.123", 10, TEXT, True),
        ("tfevents/notes.txt", 10, TEXT, False),
        ("image.png", 10, b"\x89PNG\0", True),
    ],
)
def test_files_are_large_by_size_by_name_or_by_content(path: str, size: int, sample: bytes, expected: bool) -> None:
    assert is_large(path, size=size, sample=sample, attributes=DEFAULT_ATTRIBUTES.decode()) is expected


def test_later_attributes_override_earlier_ones() -> None:
    attributes = "*.txt filter=lfs -text\n# *.md filter=lfs\nkeep.txt -filter\n\n"

    assert is_large("a.txt", size=4, sample=TEXT, attributes=attributes)
    assert not is_large("keep.txt", size=4, sample=TEXT, attributes=attributes)
    assert not is_large("a.md", size=4, sample=TEXT, attributes=attributes)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [(b"", True), ("größe".encode(), True), ("größe".encode()[:-3], True), (b"a\0b", False), (b"\xff\xfe", False)],
)
def test_text_is_utf8_without_zero_bytes_even_if_cut_in_a_character(sample: bytes, expected: bool) -> None:
    assert is_text(sample) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.tmp", True),
        ("deep/a.tmp", True),
        ("keep.tmp", False),
        ("logs/a.txt", True),
        ("deep/logs/a.txt", True),
        ("logs", False),
        ("build/a", True),
        ("deep/build/a", False),
        ("docs/x/y/notes.txt", True),
        ("a1.txt", True),
        ("ab.txt", False),
        ("a.txt", False),
    ],
)
def test_gitignore_rules_hold(path: str, expected: bool) -> None:
    gitignore = "# comment\n*.tmp\n!keep.tmp\nlogs/\n/build\ndocs/**/notes.txt\na[0-9].txt\n"

    assert is_ignored(path, gitignore=gitignore) is expected


def test_trees_and_commits_have_the_ids_that_git_2_39_gives_them() -> None:
    files = {"folder/hello.txt": b"hello\n", "folder/sub/x": b"x", "folder.d/y": b"y", "folder-z": b"z"}

    trees = tree_ids({path: blob_id(content) for path, content in files.items()})
    commit = commit_id(
        tree=trees[""],
        parents=(),
        author="demo",
        date=datetime(2026, 1, 1, tzinfo=UTC),
        message="Title\n\nDescription",
    )

    assert trees == {
        "": "4e26d3d68a35b87e1b020371f5299373c5e602b8",
        "folder": "99af776d155048f6f65c8b2869cc1aacd758dcc5",
        "folder/sub": "f115c6d5cfb15ca1a72429900dcaca0fd1057951",
        "folder.d": "eb9e42c670eef311e0072bf8113fc5504cd38b4b",
    }
    assert commit == "b78ed751cb97edb779469d73023e9aeee78e932f"
