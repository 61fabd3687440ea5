"""Every table of a job opened, and all that is wrong with splits, columns and their types told at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api.datasets import EvaluationDataset, TrainDataset
from finetune_api.evaluators import Evaluator
from finetune_api.losses import LossRule
from finetune_api.sense import evaluation_sets, evaluator_of, objective_of, rule_of
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.prepare.fetch.locating import Located
from finetune_trainer.prepare.rows.forms import Form, check_content_for_loss, columns_of, plan_form
from finetune_trainer.prepare.rows.requests import TableRequest, request_evaluation, request_train
from finetune_trainer.prepare.rows.tables import OpenTable, check_documents, open_table, reopen_table
from finetune_trainer.prepare.rows.undeclared import with_notices
from finetune_trainer.workspace.manifest import Column
from finetune_trainer.workspace.problems import InputProblem, as_failure


@dataclass(frozen=True)
class OpenTrain:
    """A training set whose columns are known to be usable with its loss, and the form of the table to write."""

    dataset: TrainDataset
    table: OpenTable
    form: Form

    @property
    def columns(self) -> list[Column]:
        """Return the columns of the table to write, without the label."""
        return columns_of(self.form, self.table)


@dataclass(frozen=True)
class OpenEvaluation:
    """An evaluation set whose columns are known to be usable with its evaluator."""

    dataset: EvaluationDataset
    evaluator: Evaluator
    tables: Mapping[str, OpenTable]
    """`rows`, or `queries`, `corpus` and `relevant`."""
    held_out_of: str | None = None
    """The training set whose rows they are, until `hold_out` divides them."""


@dataclass(frozen=True)
class OpenInputs:
    """Every set of the job, in the order of the spec; evaluation sets as in `finetune_api.sense.evaluation_sets`."""

    train: list[OpenTrain]
    evaluations: list[OpenEvaluation]

    def tables(self) -> Iterator[OpenTable]:
        """Yield every table, those of rows that are held out once."""
        yield from (one.table for one in self.train)
        for one in self.evaluations:
            if one.held_out_of is None:
                yield from one.tables.values()


def open_inputs(spec: FinetuneJobSpec, located: Located, *, cache: Path) -> OpenInputs:
    """Open every table; fails with all splits and columns that are missing or unusable."""
    train = [_open_train(spec, index, one.folder, cache) for index, one in enumerate(located.train)]
    held_out_of = {f"spec.data.train[{index}].holdOut": one for index, one in enumerate(train)}
    evaluations = [
        _open_held_out(spec, path, dataset, held_out_of[path])
        if path in held_out_of
        else _open_evaluation(spec, path, dataset, one.folder, cache)
        for (path, dataset), one in zip(evaluation_sets(spec).items(), located.evaluation, strict=True)
    ]
    if problems := [problem for one in (*train, *evaluations) if isinstance(one, list) for problem in one]:
        raise as_failure(problems)
    return OpenInputs(
        train=[one for one in train if isinstance(one, OpenTrain)],
        evaluations=[one for one in evaluations if isinstance(one, OpenEvaluation)],
    )


def required_rule(spec: FinetuneJobSpec, dataset: TrainDataset) -> LossRule:
    """Return what the loss of a training set takes."""
    rule = rule_of(objective_of(spec, dataset), spec)
    if rule is None:
        raise AssertionError("finetune_api.sense lets no unknown loss pass")
    return rule


def _open(request: TableRequest, *, cache: Path) -> OpenTable | list[InputProblem]:
    table = open_table(request, cache=cache)
    return with_notices(table) if isinstance(table, OpenTable) else table


def _open_train(spec: FinetuneJobSpec, index: int, folder: Path, cache: Path) -> OpenTrain | list[InputProblem]:
    dataset = spec.data.train[index]
    rule, loss = required_rule(spec, dataset), objective_of(spec, dataset).name
    table = _open(request_train(dataset, index=index, folder=folder, label=rule.label), cache=cache)
    if not isinstance(table, OpenTable):
        return table
    if problems := list(check_content_for_loss(table, dataset, rule, loss=loss)):
        return problems
    form = plan_form(table, dataset, rule, max_short_ratio=spec.data.max_bad_sample_ratio)
    return OpenTrain(dataset=dataset, table=table, form=form)


def _open_evaluation(
    spec: FinetuneJobSpec, path: str, dataset: EvaluationDataset, folder: Path, cache: Path
) -> OpenEvaluation | list[InputProblem]:
    evaluator = evaluator_of(spec, dataset)
    requests = request_evaluation(dataset, field=path, folder=folder, evaluator=evaluator)
    opened = {name: _open(request, cache=cache) for name, request in requests.items()}
    tables = {name: table for name, table in opened.items() if isinstance(table, OpenTable)}
    problems = [problem for table in opened.values() if not isinstance(table, OpenTable) for problem in table]
    if "rows" in tables:
        problems += check_documents(tables["rows"])
    return problems or OpenEvaluation(dataset=dataset, evaluator=evaluator, tables=tables)


def _open_held_out(
    spec: FinetuneJobSpec, path: str, dataset: EvaluationDataset, train: OpenTrain | list[InputProblem]
) -> OpenEvaluation | list[InputProblem]:
    """Return the rows of a training set as an evaluation set, all of them; what is wrong there is told there."""
    if not isinstance(train, OpenTrain):
        return []
    evaluator = evaluator_of(spec, dataset)
    folder = train.table.request.folder
    request = request_evaluation(dataset, field=path, folder=folder, evaluator=evaluator)["rows"]
    table = reopen_table(train.table, request)
    if not isinstance(table, OpenTable):
        return table
    problems = check_documents(table)
    return problems or OpenEvaluation(dataset, evaluator, {"rows": table}, held_out_of=train.dataset.name)
