"""Everything that the spec names, fetched at pinned revisions. All that cannot be found is told at once."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api.splits import split_names
from finetune_api.types import FinetuneJobSpec, NamedSource, named_datasets, named_models
from finetune_api.workspace import Workspace
from finetune_trainer.data.problems import InputProblem, as_failure
from finetune_trainer.data.sources import Fetched, Sources
from finetune_trainer.data.split_files import Split
from finetune_trainer.failures import RunFailure

BASE_MODEL = "spec.model"
_ROUTES = "spec.model.router.routes."
_SHORT = 12


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


def locate(spec: FinetuneJobSpec, workspace: Workspace, sources: Sources) -> Located:
    """Fetch everything; fails with all that cannot be found."""
    problems: list[InputProblem] = []

    def fetch_all(named: list[NamedSource], fetch: Callable[[NamedSource], Fetched]) -> list[Fetched]:
        """Fetch each source once, whoever names it."""
        found: dict[object, Fetched] = {}
        for one in named:
            # The base model has a folder of its own, even if a miner or a guide is the same.
            key = one.source, one.revision, one.path == BASE_MODEL
            if key in found:
                continue
            try:
                found[key] = fetch(one)
            except RunFailure as failure:
                problems.append(InputProblem(failure.reason, f"{one.path}.source: {failure.message}"))
        keys = [(one.source, one.revision, one.path == BASE_MODEL) for one in named]
        return [found[key] for key in keys if key in found]

    splits = splits_of(spec)
    datasets = fetch_all(
        named_datasets(spec),
        lambda one: sources.fetch_dataset(one.source, revision=one.revision, splits=splits[one.source, one.revision]),
    )
    models = named_models(spec)
    fetched = fetch_all(
        models,
        lambda one: sources.fetch_model(one.source, revision=one.revision, folder=model_folder(one, workspace)),
    )
    if problems:
        raise as_failure(problems)
    return Located(
        models={one.path: found for one, found in zip(models, fetched, strict=True)},
        train=(train := datasets[: len(spec.data.train)]),
        evaluation=datasets[len(spec.data.train) :]
        + [one for one, dataset in zip(train, spec.data.train, strict=True) if dataset.hold_out is not None],
    )


def splits_of(spec: FinetuneJobSpec) -> Mapping[tuple[str, str], set[Split]]:
    """Return the splits that are asked for of each dataset, by source and revision."""
    found: defaultdict[tuple[str, str], set[Split]] = defaultdict(set)
    for train in spec.data.train:
        found[train.source, train.revision] |= {(train.subset, name) for name in split_names(train.split)}
    for held_out in spec.data.evaluation:
        tables = held_out.tables
        parts = (held_out,) if tables is None else (tables.queries, tables.corpus, tables.relevant_documents)
        found[held_out.source, held_out.revision] |= {
            (part.subset, name) for part in parts for name in split_names(part.split)
        }
    return found


def model_folder(named: NamedSource, workspace: Workspace) -> Path:
    """Return where a model of the spec is put."""
    if named.path == BASE_MODEL:
        return workspace.base_model
    return workspace.other_model(named.source, named.revision)
