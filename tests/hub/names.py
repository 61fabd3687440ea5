"""Which repository names, reference names and file paths are allowed."""

import re

from tests.hub.errors import bad_request

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}")
_MAX_SEGMENT_BYTES = 255


def check_repository_name(name: str) -> str:
    """Return `name` if a repository may bear it; 400 otherwise."""
    badly_ended = name.endswith((".", "-", ".git", ".ipynb"))
    if not _NAME.fullmatch(name) or badly_ended or "--" in name or ".." in name:
        message = (
            f"Invalid repo name: {name} - regex: /^(?!.*(?:--|\\.\\.))[\\w][\\w.-]{{0,95}}$/; "
            'must not end with ".", "-", ".git" or ".ipynb"'
        )
        raise bad_request(message)
    return name


def check_reference_name(name: str) -> str:
    """Return `name` if a branch or tag may bear it (the rules of `git check-ref-format`); 400 otherwise."""
    parts = name.split("/")
    misshapen = any(part == "" or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    if not _REFERENCE.fullmatch(name) or misshapen or ".." in name:
        raise bad_request(f"Invalid reference name: {name}")
    return name


def check_file_path(path: object) -> str:
    """Return `path` if a file of a repository may lie there; 400 otherwise."""
    if not isinstance(path, str) or path == "" or any(ord(character) < 32 for character in path) or "\\" in path:
        raise bad_request(f"Invalid path: {path!r}")
    for segment in path.split("/"):
        if segment in {"", ".", ".."} or segment.lower() == ".git" or len(segment.encode()) > _MAX_SEGMENT_BYTES:
            raise bad_request(f"Invalid path: {path!r}")
    return path
