"""What is fenced in the pages of the documentation: commands and manifests."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Decisions are left as they were written.
PAGES = sorted(chain(ROOT.glob("*.md"), (path for path in ROOT.glob("docs/**/*.md") if path.parent.name != "adr")))
SHELLS = ("console", "sh", "bash")
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
ENDS_A_COMMAND = frozenset({"&&", "||", "|", ";", "&", ">", "<"})
IS_VARIABLE = re.compile(r"\w+=")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    where: str
    """Page and line."""
    language: str
    text: str

    def __str__(self) -> str:
        """Name it, for people and pytest."""
        return self.where


@dataclass(frozen=True)
class Command:
    """A program that a page says to run, with its arguments."""

    where: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        """Name it, for people and pytest."""
        return f"{self.where} {' '.join(self.words)}"


def blocks(*languages: str) -> list[Block]:
    """Return all blocks of these languages, of all of them if none is given."""
    return [block for path in PAGES for block in _blocks(path) if not languages or block.language in languages]


def _blocks(path: Path) -> Iterator[Block]:
    text = path.read_text()
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        yield Block(f"{path.relative_to(ROOT)}:{line}", match[2], match[3])


def commands() -> Iterator[Command]:
    """Yield every command of the blocks for a shell; where there are prompts, the rest is what was printed."""
    for block in blocks(*SHELLS):
        lines = block.text.replace("\\\n", " ").splitlines()
        typed = [line[2:] for line in lines if line.startswith("$ ")]
        for line in typed or lines:
            yield from (Command(block.where, words) for words in _split(line))


def _split(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands of a line, without variables before them and files that are written or read."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    is_file = False
    for word in [*lexer, ";"]:
        if word not in ENDS_A_COMMAND:
            words += [] if is_file or (not words and IS_VARIABLE.match(word)) else [word]
            continue
        if words:
            yield tuple(words)
        words, is_file = [], word in "<>"
