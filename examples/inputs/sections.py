"""Cuts HTML manuals into sections: a heading and the text under it."""

import re
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import NamedTuple

MIN_HEADING_WORDS = 2
MIN_TEXT_WORDS = 40
# Sections that begin alike are copies: notes and licences that every manual carries.
NUM_LEADING_CHARACTERS = 200

HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
INVISIBLE = frozenset({"head", "nav", "script", "style"})
SEPARATING = frozenset({"br", "dd", "div", "dt", "li", "p", "pre", "td", "th", "tr"})


class Section(NamedTuple):
    """One section of a manual."""

    heading: str
    text: str


def parse_sections(html: str) -> list[Section]:
    """Return every section of a page in order; whatever stands before the first heading is left out."""
    parser = _SectionParser()
    parser.feed(html)
    parser.close()
    return [_clean_section(heading, text) for heading, text in parser.finish()]


def choose_sections(sections: Iterable[Section]) -> list[Section]:
    """Return the sections that say something: real headings with a real text, each heading and text once."""
    seen: set[str] = set()
    chosen = []
    for section in sections:
        marks = {section.heading.lower(), section.text[:NUM_LEADING_CHARACTERS]}
        long_enough = len(section.heading.split()) >= MIN_HEADING_WORDS and len(section.text.split()) >= MIN_TEXT_WORDS
        if long_enough and not marks & seen:
            seen |= marks
            chosen.append(section)
    return chosen


def _clean_section(heading: str, text: str) -> Section:
    heading, text = _clean_heading(heading), _collapse(text)
    # A text that repeats its heading would give the answer away.
    if text.lower().startswith(heading.lower()):
        text = text[len(heading) :].strip()
    return Section(heading, text)


def _clean_heading(heading: str) -> str:
    """Drop the numbering: `Chapter 3. Title`, `3.1.2. Title`, `A.1 Title`."""
    heading = re.sub(r"^(chapter|appendix)\s+\w+\.\s*", "", _collapse(heading), flags=re.IGNORECASE)
    return re.sub(r"^([A-Z]?\d*\.)*\d*\.?\s*", "", heading).strip(" .")


def _collapse(text: str) -> str:
    """Return `text` on one line, without the marks that manuals put beside headings."""
    return re.sub(r"\s+", " ", re.sub("[\u00b6\u200b]", " ", text)).strip()


class _SectionParser(HTMLParser):
    """Collects (heading, text) while it reads."""

    def __init__(self) -> None:
        super().__init__()
        self._finished: list[tuple[str, str]] = []
        self._heading: list[str] | None = None
        self._text: list[str] = []
        self._in_heading = False
        self._invisible_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in INVISIBLE:
            self._invisible_depth += 1
        elif tag in HEADINGS:
            self.finish()
            self._heading, self._in_heading = [], True
        elif tag in SEPARATING:
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in INVISIBLE and self._invisible_depth:
            self._invisible_depth -= 1
        elif tag in HEADINGS:
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        if self._invisible_depth:
            return
        if self._in_heading and self._heading is not None:
            self._heading.append(data)
        else:
            self._text.append(data)

    def finish(self) -> list[tuple[str, str]]:
        """Close the section being read; return all closed ones."""
        if self._heading is not None:
            self._finished.append(("".join(self._heading), "".join(self._text)))
        self._heading, self._text = None, []
        return self._finished
