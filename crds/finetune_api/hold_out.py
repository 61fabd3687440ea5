"""The evaluation set that holdOut makes of a training set: its name, its columns, what is measured on it."""

from finetune_api.datasets import HELD_OUT, EvaluationColumns, EvaluationDataset, TrainDataset
from finetune_api.evaluators import EVALUATORS, Evaluator, columns_fit
from finetune_api.losses import Kind, Label


def held_out_set(dataset: TrainDataset, evaluator: Evaluator) -> EvaluationDataset:
    """Return the evaluation set as if it had been written in data.evaluation."""
    # Not checked again: a name that is too long is told as such.
    return EvaluationDataset.model_construct(
        name=dataset.name + HELD_OUT,
        evaluator=evaluator,
        source=dataset.source,
        revision=dataset.revision,
        subset=dataset.subset,
        split=dataset.split,
        limit=dataset.limit,
        columns=_columns(dataset),
    )


def fitting_evaluators(dataset: TrainDataset, label: Label, kind: Kind) -> list[Evaluator]:
    """Return what can be measured on rows of a training set, whose loss takes such labels, the usual one first."""
    columns = _columns(dataset)
    if columns is None or (columns.label is not None and label in (Label.CLASS, Label.VECTOR)):
        return []
    fitting = [name for name, one in EVALUATORS.items() if kind in one.kinds and columns_fit(name, columns.given)]
    return fitting[::-1] if label is Label.BINARY and columns.label is not None else fitting


def _columns(dataset: TrainDataset) -> EvaluationColumns | None:
    """Return the columns to evaluate on, None where rows have no queries; scores of a teacher judge no answer."""
    columns = dataset.columns
    if columns.query is None:
        return None
    judged_by_label = columns.positive is None
    return EvaluationColumns.model_validate(columns.model_dump(exclude=set() if judged_by_label else {"label"}))
