"""Texts that are names of media or addresses: most likely what was to be trained on is behind them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from finetune_trainer.prepare.scans.findings import excerpt

IMAGES = "names of images"
ADDRESSES = "addresses"
#: What texts may name, and what they end in then.
_SUFFIXES = {
    IMAGES: "png|jpg|jpeg|jpe|jfif|webp|gif|bmp|tif|tiff|avif|heic|heif|jp2|j2k|jxl|svg|ico",
    "names of audio files": "wav|mp3|flac|ogg|oga|opus|m4a|aac|wma|aif|aiff",
    "names of videos": "mp4|m4v|mov|avi|mkv|webm|mpg|mpeg|wmv|flv",
    "names of PDF files": "pdf",
}
_LONGEST_NAME = 1000
_INLINE = {IMAGES: "image", "names of audio files": "audio", "names of videos": "video"}
_ADDRESS = r"^[a-z][a-z0-9+.-]*://\S+$"


@dataclass
class Named:
    """How many texts of a column name something."""

    kind: str
    """`names of images` and so on, as messages say it."""
    count: int = 0
    example: str = ""


class NameCount:
    """Counts the texts of a column that are names; texts come in pieces."""

    def __init__(self) -> None:
        self.num_texts = 0
        self._found = {kind: Named(kind) for kind in (*_SUFFIXES, ADDRESSES)}

    def add(self, texts: pa.Array) -> None:
        """Look at more texts; missing ones do not count."""
        texts = pc.utf8_trim_whitespace(texts.drop_null())
        self.num_texts += len(texts)
        # Texts of many words are neither, and pages of them would take time.
        rest = texts.filter(pc.or_(pc.less_equal(pc.utf8_length(texts), _LONGEST_NAME), pc.starts_with(texts, "data:")))
        rest = rest.filter(pc.match_substring_regex(rest, _ANY, ignore_case=True))
        for kind, pattern in _PATTERNS.items():
            matches = pc.match_substring_regex(rest, pattern, ignore_case=True)
            named = rest.filter(matches)
            rest = rest.filter(pc.invert(matches))
            found = self._found[kind]
            found.count += len(named)
            found.example = found.example or (_shown(named[0].as_py()) if len(named) else "")

    def found(self) -> Iterator[Named]:
        """Yield each kind of name that occurs."""
        yield from (named for named in self._found.values() if named.count)


def _pattern(kind: str) -> str:
    name = rf"^[^\r\n]*[^\s/]\.({_SUFFIXES[kind]})([?#]\S+)?$"
    return f"{name}|^data:{_INLINE[kind]}/" if kind in _INLINE else name


_PATTERNS = {**{kind: _pattern(kind) for kind in _SUFFIXES}, ADDRESSES: _ADDRESS}
#: Looked for first: hardly any text is a name.
_ANY = "|".join(f"({pattern})" for pattern in _PATTERNS.values())


def _shown(name: str) -> str:
    """Return a name as messages show it: of an address without its query, which may hold secrets."""
    return excerpt(name.partition("?")[0] if "://" in name else name)
