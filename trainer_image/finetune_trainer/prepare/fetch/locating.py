"""Everything that the spec names, fetched at pinned revisions. All that cannot be found is told at once."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from finetune_api.datasets import EvaluationDataset, TrainDataset
from finetune_api.splits import first_rows, split_names
from finetune_api.types import FinetuneJobSpec, NamedSource, named_datasets, named_models
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.fetch.sources import DATASET, MODEL, Fetched, Kind, Sources
from finetune_trainer.prepare.fetch.split_files import Split
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.problems import InputProblem, as_failure

BASE_MODEL = "spec.model"
_ROUTES = "spec.model.router.routes."
_SHORT = 12

Found = TypeVar("Found")


@dataclass(frozen=True)
class Located:
    """Models and datasets on disk."""

    models: Mapping[str, Fetched]
    """By the field that names each: `spec.model`, `spec.training.loss.guide` and so on."""
    train: list[Fetched]
    evaluation: list[Fetched]
    """Those of data.evaluation, then those of holdOut."""

    @property
    def model_revision(self) -> str:
        """Return the commit of the base model; of routes, their names with the beginnings of theirs."""
        if BASE_MODEL in self.models:
            return self.models[BASE_MODEL].revision
        routes = {field.removeprefix(_ROUTES): one for field, one in self.models.items() if field.startswith(_ROUTES)}
        return ", ".join(f"{name} {route.revision[:_SHORT]}" for name, route in routes.items())


def resolve(spec: FinetuneJobSpec, sources: Sources, *, pinned: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the commit or content hash of every source, by the field that names it; fails with all that are missing.

    `pinned` are those of an earlier try of this job. They stay while they can be had: what the job has made is of them.
    """
    problems: list[InputProblem] = []

    def revision_of(kind: Kind, one: NamedSource) -> str:
        before = (pinned or {}).get(one.path, one.revision)
        try:
            return sources.resolve(kind, one.source, revision=before)
        except RunFailure as failure:
            if failure.reason is not kind.missing or before == one.revision:
                raise
        return sources.resolve(kind, one.source, revision=one.revision)

    datasets = _each_once(named_datasets(spec), lambda one: revision_of(DATASET, one), problems)
    models = _each_once(named_models(spec), lambda one: revision_of(MODEL, one), problems)
    if problems:
        raise as_failure(problems)
    return {**models, **datasets}


def locate(spec: FinetuneJobSpec, workspace: Workspace, sources: Sources, commits: Mapping[str, str]) -> Located:
    """Fetch everything as it was resolved; fails with all that cannot be had."""
    problems: list[InputProblem] = []
    splits = splits_of(spec)
    datasets = _each_once(
        named_datasets(spec),
        lambda one: sources.fetch_dataset(
            one.source, commit=commits[one.path], splits=splits[one.source, one.revision]
        ),
        problems,
    )
    models = _each_once(
        named_models(spec),
        lambda one: sources.fetch_model(one.source, commit=commits[one.path], folder=model_folder(one, workspace)),
        problems,
    )
    if problems:
        raise as_failure(problems)
    found = list(datasets.values())
    return Located(
        models=models,
        train=(train := found[: len(spec.data.train)]),
        evaluation=found[len(spec.data.train) :]
        + [one for one, dataset in zip(train, spec.data.train, strict=True) if dataset.hold_out is not None],
    )


def _each_once(
    named: list[NamedSource], find: Callable[[NamedSource], Found], problems: list[InputProblem]
) -> dict[str, Found]:
    """Return what was found by field, each source once, whoever names it; what is wrong is added to `problems`."""
    found: dict[object, Found] = {}
    # The base model has a folder of its own, even if a miner or a guide is the same.
    keys = {one.path: (one.source, one.revision, one.path == BASE_MODEL) for one in named}
    for one in named:
        if keys[one.path] in found:
            continue
        try:
            found[keys[one.path]] = find(one)
        except RunFailure as failure:
            problems.append(InputProblem(failure.reason, f"{one.path}.source: {failure.message}"))
    return {path: found[key] for path, key in keys.items() if key in found}


def splits_of(spec: FinetuneJobSpec) -> Mapping[tuple[str, str], dict[Split, int | None]]:
    """Return the splits that are asked for of each dataset, by source and revision, and how many of their first rows.

    None for all of them.
    """
    found: defaultdict[tuple[str, str], dict[Split, int | None]] = defaultdict(dict)
    datasets: list[TrainDataset | EvaluationDataset] = [*spec.data.train, *spec.data.evaluation]
    for dataset in datasets:
        splits = found[dataset.source, dataset.revision]
        for part, limit in _parts(dataset):
            rows = first_rows(part.split, limit=limit)
            for split in ((part.subset, name) for name in split_names(part.split)):
                before = splits.get(split, 0)
                splits[split] = None if rows is None or before is None else max(rows, before)
    return found


def _parts(dataset: TrainDataset | EvaluationDataset) -> Iterator[tuple[Any, int | None]]:
    """Yield what names a subset and a split, and how many rows of it are taken at most."""
    tables = dataset.tables if isinstance(dataset, EvaluationDataset) else None
    if tables is None:
        yield dataset, dataset.limit
    else:
        yield from ((part, None) for part in (tables.queries, tables.corpus, tables.relevant_documents))


def model_folder(named: NamedSource, workspace: Workspace) -> Path:
    """Return where a model of the spec is put."""
    if named.path == BASE_MODEL:
        return workspace.base_model
    return workspace.other_model(named.source, named.revision)
