"""All inputs of a job, in three strides: located, opened, written. Problems of a stride are told together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api.status import DatasetStatus
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.data.evaluation_tables import (
    WrittenEvaluation,
    check_modalities,
    write_evaluation,
)
from finetune_trainer.data.manifest import PreparedEvaluation, PreparedTrain
from finetune_trainer.data.problems import InputProblem, as_failure
from finetune_trainer.data.requests import TableRequest, request_evaluation, request_train
from finetune_trainer.data.sources import Fetched, Sources
from finetune_trainer.data.tables import OpenTable, open_table
from finetune_trainer.data.tally import Tally
from finetune_trainer.data.train_table import WrittenTrain, write_train
from finetune_trainer.data.workplace import Workplace
from finetune_trainer.failures import RunFailure


@dataclass(frozen=True)
class Located:
    """Model and datasets on disk at pinned revisions."""

    model: Fetched
    train: list[Fetched]
    evaluation: list[Fetched]


@dataclass(frozen=True)
class OpenInputs:
    """Tables whose columns are known to be usable."""

    train: OpenTable
    evaluations: list[Mapping[str, OpenTable]]
    located: Located

    def tables(self) -> Iterator[OpenTable]:
        """Yield every table."""
        yield self.train
        for tables in self.evaluations:
            yield from tables.values()


@dataclass(frozen=True)
class WrittenInputs:
    """What the manifest says about tables."""

    train: PreparedTrain
    evaluations: list[PreparedEvaluation]
    datasets: list[DatasetStatus]
    warnings: list[str]


def locate(spec: FinetuneJobSpec, workspace: Workspace, sources: Sources) -> Located:
    """Fetch everything; fails with all that cannot be found."""
    problems: list[InputProblem] = []
    fetched: dict[tuple[str, str], Fetched] = {}

    def attempt(field: str, fetch: Callable[[], Fetched]) -> Fetched | None:
        try:
            return fetch()
        except RunFailure as failure:
            problems.append(InputProblem(failure.reason, f"{field}.source: {failure.message}"))
            return None

    def dataset(field: str, source: str, revision: str) -> Fetched | None:
        key = (source, revision)
        found = fetched.get(key) or attempt(field, lambda: sources.fetch_dataset(source, revision=revision))
        if found is not None:
            fetched[key] = found
        return found

    train = [dataset(f"spec.data.train[{i}]", d.source, d.revision) for i, d in enumerate(spec.data.train)]
    evaluation = [
        dataset(f"spec.data.evaluation[{i}]", d.source, d.revision) for i, d in enumerate(spec.data.evaluation)
    ]
    model = attempt(
        "spec.model",
        lambda: sources.fetch_model(spec.model.source, revision=spec.model.revision, folder=workspace.base_model),
    )
    if model is None or problems:
        raise as_failure(problems)
    return Located(model=model, train=[d for d in train if d], evaluation=[d for d in evaluation if d])


def open_inputs(spec: FinetuneJobSpec, located: Located, *, cache: Path) -> OpenInputs:
    """Open every table; fails with all splits and columns that are missing or unusable."""
    problems: list[InputProblem] = []

    def opened(request: TableRequest) -> OpenTable | None:
        found = open_table(request, cache=cache)
        if isinstance(found, OpenTable):
            return found
        problems.extend(found)
        return None

    train = opened(request_train(spec.data.train[0], index=0, folder=located.train[0].folder))
    evaluations = []
    for index, (dataset, fetched) in enumerate(zip(spec.data.evaluation, located.evaluation, strict=True)):
        requests = request_evaluation(dataset, index=index, folder=fetched.folder)
        tables = {name: table for name, request in requests.items() if (table := opened(request)) is not None}
        if len(tables) == len(requests):
            problems.extend(check_modalities(tables))
            evaluations.append(tables)
    if train is None or problems:
        raise as_failure(problems)
    return OpenInputs(train=train, evaluations=list(evaluations), located=located)


def write_inputs(spec: FinetuneJobSpec, inputs: OpenInputs, workspace: Workspace, place: Workplace) -> WrittenInputs:
    """Write every table; fails with all datasets that have too many bad rows or no good ones."""
    evaluations = [
        write_evaluation(tables, workspace.evaluation_folder(dataset.name), place=place)
        for dataset, tables in zip(spec.data.evaluation, inputs.evaluations, strict=True)
    ]
    held_out = set().union(*(evaluation.pairs for evaluation in evaluations))
    train = write_train(inputs.train, workspace.train_table, held_out=held_out, place=place)
    tallies = [train.tally, *(tally for evaluation in evaluations for tally in evaluation.tallies)]
    problems = [tally.check(max_ratio=spec.data.max_bad_sample_ratio) for tally in tallies]
    if any(problems):
        raise as_failure([problem for problem in problems if problem is not None])
    return WrittenInputs(
        train=train.prepared,
        evaluations=[evaluation.prepared for evaluation in evaluations],
        datasets=_describe(spec, inputs.located, train.tally, evaluations),
        warnings=[*_leak(train), *_notes(tallies, evaluations)],
    )


def _describe(
    spec: FinetuneJobSpec, located: Located, train: Tally, evaluations: list[WrittenEvaluation]
) -> list[DatasetStatus]:
    found = [
        DatasetStatus(
            name=spec.data.train[0].name, revision=located.train[0].revision, rows=train.used, skipped=train.skipped
        )
    ]
    for dataset, fetched, written in zip(spec.data.evaluation, located.evaluation, evaluations, strict=True):
        skipped = sum(tally.skipped for tally in written.tallies)
        found.append(DatasetStatus(name=dataset.name, revision=fetched.revision, rows=written.rows, skipped=skipped))
    return found


def _leak(train: WrittenTrain) -> Iterator[str]:
    if train.leaked:
        yield (
            f"{train.tally.where}: {train.leaked} rows are also held-out pairs of the evaluation set, "
            "so its scores will be too good; take them out of one of the two"
        )


def _notes(tallies: list[Tally], evaluations: list[WrittenEvaluation]) -> Iterator[str]:
    for tally in tallies:
        yield from tally.warnings()
    for evaluation in evaluations:
        yield from evaluation.warnings
