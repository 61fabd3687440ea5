"""What is wrong with a manifest, all of it at once, each with its field path, value, cause and fix."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from finetune_api.datasets import HELD_OUT, EvaluationColumns, TrainColumns
from finetune_api.pod_checks import check_pod_templates
from finetune_api.problem import Problem
from finetune_api.quantities import parse_quantity
from finetune_api.sense import check_sense
from finetune_api.splits import check_split
from finetune_api.types import FinetuneJob, FinetuneJobSpec

_ONE_CONTENT = "values are either images by name or texts", "say one of the two"
#: Units that may be meant in place of what stands there, the likeliest first.
_UNITS = {"CPUs": ("", "m"), "bytes": ("Gi", "Mi", "")}


def parse_job(manifest: dict[str, Any]) -> FinetuneJob | list[Problem]:
    """Return the job, or everything that its schema finds wrong."""
    try:
        return FinetuneJob.model_validate(manifest)
    except ValidationError as error:
        return schema_problems(error)


def schema_problems(error: ValidationError, *, path: str = "") -> list[Problem]:
    """Return what a schema found wrong with what is at `path`."""
    fix = "see kubectl explain finetunejob.spec"
    return [
        Problem(path=_path(path, entry["loc"]), value=entry["input"], because=entry["msg"].lower(), fix=fix)
        for entry in error.errors(include_url=False)
    ]


def _path(start: str, parts: Iterable[int | str]) -> str:
    below = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return f"{start}{below}".removeprefix(".")


def check_spec(spec: FinetuneJobSpec) -> list[Problem]:
    """Return what the schema cannot state; empty if all is well."""
    return [
        *_check_names(spec),
        *_check_splits(spec),
        *check_changeable(spec),
        *_check_columns(spec),
        *check_sense(spec),
    ]


def check_changeable(spec: FinetuneJobSpec) -> list[Problem]:
    """Return what `check_spec` finds in fields that may change while the job runs."""
    accelerator = spec.resources.accelerator.name
    templates = check_pod_templates(spec.pod_template, path="spec.podTemplate", accelerator=accelerator)
    return [*_check_amounts(spec), *_check_memory(spec), *templates]


def _check_names(spec: FinetuneJobSpec) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    paths = [(f"spec.data.train[{i}].name", dataset.name) for i, dataset in enumerate(spec.data.train)]
    paths += [(f"spec.data.evaluation[{i}].name", dataset.name) for i, dataset in enumerate(spec.data.evaluation)]
    paths += [
        (f"spec.data.train[{i}].holdOut", dataset.name + HELD_OUT)
        for i, dataset in enumerate(spec.data.train)
        if dataset.hold_out is not None
    ]
    for path, name in paths:
        if name in seen:
            yield Problem(
                path=path,
                value=name,
                because=f"{seen[name]} is the same",
                fix="give every dataset a name of its own",
            )
        seen.setdefault(name, path)


def _check_splits(spec: FinetuneJobSpec) -> Iterator[Problem]:
    found = {f"spec.data.train[{i}]": dataset.split for i, dataset in enumerate(spec.data.train)}
    for index, dataset in enumerate(spec.data.evaluation):
        path, tables = f"spec.data.evaluation[{index}]", dataset.tables
        if tables is None:
            found[path] = dataset.split
            continue
        found[f"{path}.tables.queries"] = tables.queries.split
        found[f"{path}.tables.corpus"] = tables.corpus.split
        found[f"{path}.tables.relevantDocuments"] = tables.relevant_documents.split
    for path, split in found.items():
        yield from check_split(f"{path}.split", split)


def _check_amounts(spec: FinetuneJobSpec) -> Iterator[Problem]:
    """Yield amounts with which nothing works, most likely for want of the unit that was meant."""
    requests = spec.resources.requests
    for path, amount, (least, most), what in (
        ("spec.resources.requests.cpu", requests.cpu, ("50m", "1k"), "CPUs"),
        ("spec.resources.requests.memory", requests.memory, ("128Mi", "64Ti"), "bytes"),
        ("spec.resources.sharedMemory", spec.resources.shared_memory, ("1Mi", "64Ti"), "bytes"),
        ("spec.storage.size", spec.storage.size, ("1Mi", "64Pi"), "bytes"),
    ):
        number = re.sub(r"[A-Za-z]+$", "", amount)
        works = [
            one
            for one in (amount, *(f"{number}{unit}" for unit in _UNITS[what]))
            if parse_quantity(least) <= parse_quantity(one) <= parse_quantity(most)
        ]
        if amount not in works:
            because = f"{parse_quantity(amount).normalize():f} {what} cannot work, {least} to {most} can"
            fix = f"{works[0]} may be meant" if works else "choose an amount in between"
            yield Problem(path, amount, because, fix)


def _check_memory(spec: FinetuneJobSpec) -> Iterator[Problem]:
    resources = spec.resources
    if parse_quantity(resources.shared_memory) >= parse_quantity(resources.requests.memory):
        yield Problem(
            path="spec.resources.sharedMemory",
            value=resources.shared_memory,
            because=f"shared memory counts towards the pod's memory of {resources.requests.memory}",
            fix="lower sharedMemory or raise resources.requests.memory",
        )


def _check_columns(spec: FinetuneJobSpec) -> Iterator[Problem]:
    for path, columns in [
        *[(f"spec.data.train[{i}].columns", d.columns) for i, d in enumerate(spec.data.train)],
        *[(f"spec.data.evaluation[{i}].columns", d.columns) for i, d in enumerate(spec.data.evaluation)],
    ]:
        if columns is None:
            continue
        parts = (columns.query, columns.positive, columns.document, columns.documents, columns.label)
        names = [*(name for name in parts if name is not None), *columns.negatives]
        if len(set(names)) < len(names):
            yield Problem(
                path=path,
                value=names,
                because="one column plays two parts",
                fix="name a different column for each part",
            )
        yield from _check_contents(path, columns, {*names} - {columns.label})
    for index, dataset in enumerate(spec.data.evaluation):
        for name in ("queries", "corpus") if dataset.tables else ():
            table = getattr(dataset.tables, name)
            if table.images and table.texts:
                yield Problem(f"spec.data.evaluation[{index}].tables.{name}", "images and texts", *_ONE_CONTENT)


def _check_contents(path: str, columns: TrainColumns | EvaluationColumns, usable: set[str]) -> Iterator[Problem]:
    """Yield what images and texts name that plays no such part, or say twice."""
    for field, what in (("images", "an image"), ("texts", "a text")):
        named = getattr(columns, field)
        if idle := sorted({*named} - usable):
            because = f"{', '.join(idle)} plays no part that can be {what}"
            yield Problem(f"{path}.{field}", named, because, "name columns of queries or documents")
    if both := sorted({*columns.images} & {*columns.texts}):
        yield Problem(f"{path}.texts", both, *_ONE_CONTENT)
