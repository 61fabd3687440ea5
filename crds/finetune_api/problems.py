"""What is wrong with a manifest, all of it at once, each with its field path, value, cause and fix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from finetune_api.quantities import parse_quantity
from finetune_api.types import FinetuneJob, FinetuneJobSpec


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do about it."""

    path: str
    value: object
    because: str
    fix: str

    def __str__(self) -> str:
        """Return `path: value is wrong because ...; fix`."""
        return f"{self.path}: {self.value!r} is wrong because {self.because}; {self.fix}"


def parse_job(manifest: dict[str, Any]) -> FinetuneJob | list[Problem]:
    """Return the job, or everything that its schema finds wrong."""
    try:
        return FinetuneJob.model_validate(manifest)
    except ValidationError as error:
        return [_schema_problem(entry) for entry in error.errors(include_url=False)]


def _schema_problem(entry: Any) -> Problem:  # noqa: ANN401 - pydantic's own error record
    path = ".".join(str(part) for part in entry["loc"])
    return Problem(
        path=path, value=entry["input"], because=entry["msg"].lower(), fix="see kubectl explain finetunejob.spec"
    )


def check_spec(spec: FinetuneJobSpec) -> list[Problem]:
    """Return what the schema cannot state; empty if all is well."""
    return [*_check_names(spec), *_check_memory(spec), *_check_columns(spec)]


def _check_names(spec: FinetuneJobSpec) -> Iterator[Problem]:
    train = {dataset.name for dataset in spec.data.train}
    for index, dataset in enumerate(spec.data.evaluation):
        if dataset.name in train:
            yield Problem(
                path=f"spec.data.evaluation[{index}].name",
                value=dataset.name,
                because="a training set has the same name",
                fix="give every dataset a name of its own",
            )


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
        names = [columns.query, columns.positive, *columns.negatives]
        if len(set(names)) < len(names):
            yield Problem(
                path=path,
                value=names,
                because="one column plays two parts",
                fix="name a different column for query, positive and each negative",
            )
