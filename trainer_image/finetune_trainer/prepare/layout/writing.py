"""Every table of a job written. Sets with too many bad rows, or none left, are told at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from finetune_api.datasets import TrainDataset
from finetune_api.status import DatasetStatus
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.fetch.locating import Located
from finetune_trainer.prepare.layout.evaluation_tables import WrittenEvaluation, write_evaluation
from finetune_trainer.prepare.layout.hold_out import hold_out
from finetune_trainer.prepare.layout.tally import Tally
from finetune_trainer.prepare.layout.train_table import Mine, WrittenTrain, write_train
from finetune_trainer.prepare.rows.opening import OpenInputs
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.workspace.manifest import PreparedEvaluation, PreparedTrain
from finetune_trainer.workspace.problems import InputProblem, as_failure

#: Gives the miner of negatives of a training set, None if it wants none.
MinerOf = Callable[[TrainDataset], Mine | None]


@dataclass(frozen=True)
class WrittenInputs:
    """What the manifest says about tables."""

    train: list[PreparedTrain]
    evaluations: list[PreparedEvaluation]
    datasets: list[DatasetStatus]
    warnings: list[str]


def write_inputs(  # noqa: PLR0913 - each is a part of its own
    spec: FinetuneJobSpec,
    inputs: OpenInputs,
    located: Located,
    workspace: Workspace,
    place: Workplace,
    *,
    miner_of: MinerOf,
) -> WrittenInputs:
    """Write every table; fails with all datasets that have too many bad rows or no good ones."""
    max_ratio = spec.data.max_bad_sample_ratio
    inputs, notices = hold_out(inputs, place, seed=spec.training.seed, max_short_ratio=max_ratio)
    evaluations = [
        write_evaluation(one.tables, one.evaluator, workspace.evaluation_folder(one.dataset.name), place=place)
        for one in inputs.evaluations
    ]
    held_out = {written.prepared.name: written.pairs for written in evaluations}
    train = [
        write_train(
            one.table,
            one.form,
            workspace.train_table(one.dataset.name),
            held_out=held_out,
            place=place,
            mine=miner_of(one.dataset),
        )
        for one in inputs.train
    ]
    if problems := list(_problems(train, evaluations, max_ratio=max_ratio)):
        raise as_failure(problems)
    return WrittenInputs(
        train=[written.prepared for written in train],
        evaluations=[written.prepared for written in evaluations],
        datasets=_describe(located, train, evaluations),
        warnings=[
            *(notice for table in inputs.tables() for notice in table.notices),
            *notices,
            *_notes(train, evaluations),
        ],
    )


def _tallies(train: Sequence[WrittenTrain], evaluations: Sequence[WrittenEvaluation]) -> list[Tally]:
    return [written.tally for written in train] + [tally for written in evaluations for tally in written.tallies]


def _problems(
    train: Sequence[WrittenTrain], evaluations: Sequence[WrittenEvaluation], *, max_ratio: float
) -> Iterator[InputProblem]:
    found = [tally.check(max_ratio=max_ratio) for tally in _tallies(train, evaluations)]
    found += [written.problem() for written in train]
    found += [written.problem() for written in evaluations]
    yield from (problem for problem in found if problem is not None)


def _describe(
    located: Located, train: Sequence[WrittenTrain], evaluations: Sequence[WrittenEvaluation]
) -> list[DatasetStatus]:
    counts = [(written.prepared.name, written.tally.used, written.tally.skipped) for written in train]
    counts += [(one.prepared.name, one.rows, sum(tally.skipped for tally in one.tallies)) for one in evaluations]
    return [
        DatasetStatus(name=name, revision=fetched.revision, rows=rows, skipped=skipped)
        for (name, rows, skipped), fetched in zip(counts, [*located.train, *located.evaluation], strict=True)
    ]


def _notes(train: Sequence[WrittenTrain], evaluations: Sequence[WrittenEvaluation]) -> Iterator[str]:
    for written in train:
        yield from written.warnings()
    for tally in _tallies(train, evaluations):
        yield from tally.warnings()
    for evaluation in evaluations:
        yield from evaluation.warnings
