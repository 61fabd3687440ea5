"""Manifests as they lie in files: what they hold, and at which line and column each field stands.

Scalars are read as kubectl reads them: `2e-5` is a number and `2026-01-31` is text, unlike in plain PyYAML.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from finetune_api.problem import Problem
from finetune_cli.manifest.sentences import Told, tell

STDIN = "-"
#: Surrogates, which escapes give one by one.
_HALVES = re.compile("[\ud800-\udfff]")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
_TAGS = "tag:yaml.org,2002:"
#: What JSON has, by the kind of node, with the tag that stands for what JSON does not have.
_JSON_TAGS = {
    yaml.ScalarNode: tuple(f"{_TAGS}{name}" for name in ("str", "int", "float", "bool", "null")),
    yaml.SequenceNode: (f"{_TAGS}seq",),
    yaml.MappingNode: (f"{_TAGS}map",),
}
#: `<<`, which is no field but says that others are to be taken over, and `=`, which is text as the name of a field.
_NAME_TAGS = (f"{_TAGS}merge", f"{_TAGS}value")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a file, and where."""

    file: str
    text: str
    position: tuple[int, int] | None = None
    """Line and column, from 1; None about the whole file."""

    def __str__(self) -> str:
        """Return the line that a user reads."""
        return ":".join([self.file, *map(str, self.position or ())]) + f": {self.text}"


@dataclass(frozen=True)
class Document:
    """One YAML document. `content` is JSON: what kubectl would send."""

    file: str
    content: Any
    positions: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Line and column by field path; the document's own is under an empty path."""
    foreign: Sequence[Told] = ()
    """What stands in the file and is no JSON; `content` has text, a list or fields in its place."""
    is_ambiguous: bool = False
    """Whether a field is given twice, which is a finding of its own."""

    def position(self, path: str) -> tuple[int, int]:
        """Return line and column of a field, or of the nearest one around it that is there."""
        while path not in self.positions and path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.positions[path]


def read_documents(name: str) -> list[Document | Finding]:
    """Return the documents of a file, or of standard input for `-`; empty documents are left out."""
    file = "standard input" if name == STDIN else name
    try:
        text = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        return [
            Finding(
                file,
                f"cannot be read ({error.strerror}); name a file with a FinetuneJob, or {STDIN} for standard input",
            )
        ]
    return list(_parse(text, file))


def _parse(text: bytes, file: str) -> Iterator[Document | Finding]:
    try:
        loader = _Loader(text)
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                yield from _document(loader, node, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else None
        yield Finding(file, f"this is not YAML: {_reason(error)}", position)
    except yaml.reader.ReaderError as error:
        yield Finding(file, f"this is not YAML: {error.reason} at byte {error.position}; save the file as UTF-8 text")


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(filter(None, [error.context, error.problem]))
    if "'\\t'" in problem:
        return f"{problem}; indent with spaces"
    return f"{problem}; check the indentation, or put text with : # [ or {{ in quotes"


def _document(loader: "_Loader", node: yaml.Node, file: str) -> Iterator[Document | Finding]:
    positions = {"": _position(node)}
    repeated: list[Finding] = []
    for path, found, is_repeated in _walk(node, "", ()):
        if is_repeated:
            repeated.append(Finding(file, f"{path}: is given twice; keep one of the two", _position(found)))
        positions.setdefault(path, _position(found))
    yield from repeated
    foreign = list(_replace_foreign(loader, node))
    content = json.loads(json.dumps(loader.construct_document(node)))
    if content is not None:
        yield Document(file=file, content=content, positions=positions, foreign=foreign, is_ambiguous=bool(repeated))


def _walk(node: yaml.Node, path: str, around: tuple[yaml.Node, ...]) -> Iterator[tuple[str, yaml.Node, bool]]:
    """Yield path and node of every field below `node`; a field's node is its name, and True means it is there twice."""
    if node in around:
        raise yaml.composer.ComposerError(None, None, "an alias stands for what holds it", node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield f"{path}[{index}]", item, False
            yield from _walk(item, f"{path}[{index}]", (*around, node))
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = join(path, str(key.value))
            yield here, key, here in seen
            seen.add(here)
            yield from _walk(value, here, (*around, node))


def _replace_foreign(loader: "_Loader", document: yaml.Node) -> Iterator[Told]:
    """Tell what is no JSON, and turn it into text, a list or fields, so that the rest can be looked at."""
    for path, node in _nodes(document, ""):
        if isinstance(node, yaml.ScalarNode) and _HALVES.search(node.value):
            node.value = _HALVES.sub("?", node.value)
            because, fix = "in place of ? it has half of a character", "write the character itself"
            yield tell(Problem(path or "the document", node.value, because, fix))
        if _is_json(loader, node):
            continue
        given, node.tag = node.tag.replace(_TAGS, "!!"), _JSON_TAGS[type(node)][0]
        form = "a string, in quotes and" if isinstance(node, yaml.ScalarNode) else "a list or fields,"
        value = loader.construct_object(node, deep=True)
        yield tell(
            Problem(path or "the document", value, f"as {given} it is no JSON", f"write it as {form} without a tag")
        )


def _is_json(loader: "_Loader", node: yaml.Node) -> bool:
    if node.tag not in _JSON_TAGS[type(node)]:
        return False
    if not isinstance(node, yaml.ScalarNode):
        return True
    try:
        json.dumps(loader.yaml_constructors[node.tag](loader, node))
    except (ValueError, LookupError):  # what PyYAML lets out of `!!int five` and of `!!bool maybe`
        return False
    return True


def _nodes(node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.Node]]:
    """Yield path and node of every field and every field's name below `node`, and last of `node` itself."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _nodes(item, f"{path}[{index}]")
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            here = join(path, str(name.value))
            if isinstance(name, yaml.ScalarNode) and name.tag not in _NAME_TAGS:
                yield here, name
            yield from _nodes(value, here)
    yield path, node


def join(path: str, key: str | int) -> str:
    """Return the path of a field or an item below `path`, as Kubernetes writes it."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Loader(yaml.SafeLoader):
    """SafeLoader with kubectl's idea of numbers and dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
