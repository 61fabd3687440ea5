"""The metadata block of a README, checked as the Hub checks it (https://huggingface.co/docs/hub/model-cards)."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from tests.hub.history import Kind

_BLOCK = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_REPO_ID = re.compile(r"[\w.-]{1,96}(?:/[\w.-]{1,96})?")
_EMPTY = "empty or missing yaml metadata in repo card (https://huggingface.co/docs/hub/model-cards#model-card-metadata)"
_LICENSE_NAMES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bsd bsd-2-clause bsd-3-clause c-uda cc
cc0-1.0 cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 cc-by-nc-nd-4.0
cc-by-nd-4.0 cdla-permissive-2.0 afl-3.0 agpl-3.0 gpl gpl-2.0 gpl-3.0 lgpl lgpl-3.0 mpl-2.0 ms-pl artistic-2.0
bsl-1.0 ecl-2.0 epl-2.0 isc odbl odc-by ofl-1.1 pddl postgresql unlicense wtfpl zlib gemma llama2 llama3
llama3.1 llama3.2 llama3.3 llama4 unknown other
"""
_LICENSES = frozenset(_LICENSE_NAMES.split())
_LISTS_OF_TEXT = ("tags", "datasets", "metrics", "language", "base_model")


class Verdict(NamedTuple):
    metadata: dict[str, Any]
    errors: list[str]
    warnings: list[str]


def check_card(content: str, *, kind: Kind) -> Verdict:
    """Return a README's metadata, what makes the Hub refuse it and what it only warns of."""
    block = _BLOCK.match(content)
    if block is None or block.group(1).strip() == "":
        return Verdict({}, [], [_EMPTY])
    try:
        metadata = yaml.safe_load(block.group(1))
    except yaml.YAMLError as error:
        return Verdict({}, [f"YAML Metadata Error: {error}"], [])
    if not isinstance(metadata, dict):
        return Verdict({}, ["YAML Metadata Error: the metadata must be an object"], [])
    errors = [*_check_text(metadata), *_check_license(metadata), *_check_references(metadata)]
    if kind == "model":
        errors += _check_model_index(metadata.get("model-index"))
    return Verdict(metadata, errors, [])


def _check_text(metadata: dict[str, Any]) -> Iterator[str]:
    for key in _LISTS_OF_TEXT:
        value = metadata.get(key)
        texts = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(text, str) for text in texts):
            yield f'"{key}" must be a string or an array of strings'
    for key in ("library_name", "pipeline_tag"):
        if not isinstance(metadata.get(key), str | None):
            yield f'"{key}" must be a string'


def _check_license(metadata: dict[str, Any]) -> Iterator[str]:
    value = metadata.get("license")
    for name in value if isinstance(value, list) else [value]:
        if name is not None and name not in _LICENSES:
            yield f'"license" must be one of [{", ".join(sorted(_LICENSES))}]'


def _check_references(metadata: dict[str, Any]) -> Iterator[str]:
    value = metadata.get("base_model")
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str) and not _REPO_ID.fullmatch(name):
            yield f'"base_model" with value "{name}" is not valid. Use a model id from https://hf.co/models.'


def _check_model_index(index: object) -> Iterator[str]:
    if index is None:
        return
    if not isinstance(index, list):
        yield '"model-index" must be an array'
        return
    for number, model in enumerate(index):
        place = f"model-index[{number}]"
        yield from _missing(model, place, "name", "results")
        for position, result in enumerate(_list(model, "results")):
            yield from _check_result(result, f"{place}.results[{position}]")


def _check_result(result: object, place: str) -> Iterator[str]:
    missing = list(_missing(result, place, "task", "dataset", "metrics"))
    if missing or not isinstance(result, dict):
        yield from missing
        return
    yield from _missing(result["task"], f"{place}.task", "type")
    yield from _missing(result["dataset"], f"{place}.dataset", "name", "type")
    for position, metric in enumerate(_list(result, "metrics")):
        yield from _missing(metric, f"{place}.metrics[{position}]", "type", "value")


def _list(value: object, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _missing(value: object, place: str, *keys: str) -> Iterator[str]:
    for key in keys:
        if not isinstance(value, dict) or value.get(key) is None:
            yield f'"{place}.{key}" is required'
