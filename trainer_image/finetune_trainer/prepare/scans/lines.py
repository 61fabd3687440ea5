"""Lines of a file of text, each decoded on its own, so that one of another encoding can be named."""

import codecs
from collections.abc import Iterator
from typing import IO

from finetune_trainer.prepare.scans.findings import BrokenFile, undecodable, words

_WIDE = ("utf-16", "utf16", "utf-32", "utf32")  # ends of lines are not single bytes


def read_lines(stream: IO[bytes], *, encoding: str = "utf-8") -> Iterator[str]:
    """Yield every line with its end; fails with the line that is not of the encoding."""
    if encoding.lower().startswith(_WIDE):
        try:
            yield from codecs.getreader(encoding)(stream)
        except UnicodeError as error:
            raise BrokenFile(f"not {encoding.upper()} ({words(error)})", "save the file in UTF-8") from error
        return
    for number, line in enumerate(stream, start=1):
        start = codecs.BOM_UTF8 if number == 1 else b""
        try:
            yield line.removeprefix(start).decode(encoding)
        except UnicodeDecodeError as error:
            message = f"not {encoding.upper()} {undecodable(line, encoding)}"
            raise BrokenFile(message, "save the file in UTF-8", where=f"line {number}") from error
