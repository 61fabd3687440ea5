"""Which files are large: by name (`.gitattributes`), by size, or because they are not text; and which are ignored."""

import re
from functools import lru_cache

MAX_REGULAR_BYTES = 10 * 1024 * 1024

_LARGE_PATTERNS = """
*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz
*.onnx *.parquet *.pb *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar
*.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*
"""

DEFAULT_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in _LARGE_PATTERNS.split()
).encode()


def is_large(path: str, *, size: int, sample: bytes, attributes: str) -> bool:
    """Decide as the Hub's `preupload` does; `sample` holds the first 512 bytes."""
    if size == 0:
        return False
    return size > MAX_REGULAR_BYTES or _is_large_by_name(path, attributes) or not is_text(sample)


def is_text(sample: bytes) -> bool:
    """Whether a file's first bytes look like UTF-8 text; a character cut off at the end of the sample is forgiven."""
    if b"\0" in sample:
        return False
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def is_ignored(path: str, *, gitignore: str) -> bool:
    """Decide by the rules of gitignore: the last pattern that matches the path or one of its folders wins."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    return any(_ignores(prefix, gitignore, is_folder=prefix != path) for prefix in prefixes)


def _ignores(path: str, gitignore: str, *, is_folder: bool) -> bool:
    ignored = False
    for line in gitignore.splitlines():
        pattern = line.rstrip()
        if pattern == "" or pattern.startswith("#"):
            continue
        negated = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        if pattern.endswith("/") and not is_folder:
            continue
        if _matches(path, pattern.rstrip("/")):
            ignored = not negated
    return ignored


def _is_large_by_name(path: str, attributes: str) -> bool:
    large = False
    for line in attributes.splitlines():
        pattern, *values = line.split() or [""]
        if pattern and not pattern.startswith("#") and _matches(path, pattern):
            large = large if not any("filter" in value for value in values) else "filter=lfs" in values
    return large


def _matches(path: str, pattern: str) -> bool:
    anchored = "/" in pattern
    subject = path if anchored else path.rpartition("/")[2]
    return _expression(pattern.removeprefix("/")).fullmatch(subject) is not None


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    """Translate a gitignore pattern (https://git-scm.com/docs/gitignore#_pattern_format)."""
    pieces = re.split(r"(\*\*/|/\*\*$|\*|\?|\[[^\]]+\])", pattern)
    meaning = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(_piece(piece, meaning) for piece in pieces))


def _piece(piece: str, meaning: dict[str, str]) -> str:
    if piece.startswith("[") and piece.endswith("]"):
        return "[^" + piece[2:] if piece.startswith("[!") else piece
    return meaning.get(piece, re.escape(piece))
