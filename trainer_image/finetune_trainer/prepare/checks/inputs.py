"""Whether the model, the losses and the opened data of a job fit together. Imports torch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.losses import Label
from finetune_api.objective import Loss
from finetune_api.reasons import Reason
from finetune_api.sense import evaluation_sets, objective_of
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.arguments import check_arguments
from finetune_trainer.prepare.checks.loss import check_loss
from finetune_trainer.prepare.checks.model import Inspection
from finetune_trainer.prepare.checks.parameters import check_learning_rates
from finetune_trainer.prepare.checks.precision import check_precision
from finetune_trainer.prepare.rows.opening import OpenInputs
from finetune_trainer.prepare.rows.requests import QUERY
from finetune_trainer.prepare.rows.tables import OpenTable
from finetune_trainer.recipe.losses.build import build_loss
from finetune_trainer.workspace.problems import InputProblem


def check_inputs(
    spec: FinetuneJobSpec, inputs: OpenInputs, model: Inspection, workspace: Workspace
) -> list[InputProblem]:
    """Return every column that the model cannot read, and every argument that a loss or the Trainer does not take."""
    problems = [problem for table in inputs.tables() for problem in _check_modalities(spec, table, model)]
    problems += check_arguments(spec.training, spec.model.kind) or check_precision(spec)
    problems += _check_scores(spec, model)
    losses = list(_check_losses(spec, inputs, model, workspace))
    if losses:
        return [*problems, *losses]
    own = any(_has_weights(objective_of(spec, one.dataset), model.loaded, spec, workspace) for one in inputs.train)
    names = [one.dataset.name for one in inputs.train]
    rates = check_learning_rates(spec.training.learning_rates, model.loaded, datasets=names, loss_weights=own)
    return [*problems, *rates]


def with_classes(spec: FinetuneJobSpec, inputs: OpenInputs, model: Inspection) -> OpenInputs:
    """Return the inputs with the number of classes that each loss knows, so that labels beyond are bad rows."""
    train = [
        replace(one, form=replace(one.form, num_classes=_num_classes(objective_of(spec, one.dataset), model.loaded)))
        if one.form.label is Label.CLASS
        else one
        for one in inputs.train
    ]
    return replace(inputs, train=train)


def _num_classes(loss: Loss, model: SentenceTransformer | CrossEncoder) -> int | None:
    """Return how many scores there are for classes; None for losses that only compare them."""
    if isinstance(model, CrossEncoder):
        return int(model.num_labels)
    given = loss.arguments.get("num_labels")
    return int(given) if given is not None else None


def _check_losses(
    spec: FinetuneJobSpec, inputs: OpenInputs, model: Inspection, workspace: Workspace
) -> Iterator[InputProblem]:
    for index, one in enumerate(inputs.train):
        yield from check_loss(
            objective_of(spec, one.dataset),
            model.loaded,
            path="spec.training.loss" if one.dataset.loss is None else f"spec.data.train[{index}].loss",
            kind=spec.model.kind,
            label=one.form.label,
            columns=one.columns,
            vector_length=one.form.vector_length,
            workspace=workspace,
        )


def _has_weights(
    loss: Loss, model: SentenceTransformer | CrossEncoder, spec: FinetuneJobSpec, workspace: Workspace
) -> bool:
    """Say whether the loss trains weights besides those of the model."""
    built = build_loss(loss, model, kind=spec.model.kind, world_size=1, workspace=workspace)
    known = {id(parameter) for parameter in model.parameters()}
    return any(parameter.requires_grad and id(parameter) not in known for parameter in built.parameters())


def _check_scores(spec: FinetuneJobSpec, model: Inspection) -> Iterator[InputProblem]:
    """Yield why a saved reranker cannot be measured; one that the spec gives several labels is refused before."""
    scores = model.loaded.num_labels if isinstance(model.loaded, CrossEncoder) else 1
    if scores != 1 and (sets := evaluation_sets(spec)):
        where = "spec.data.evaluation" if spec.data.evaluation else next(iter(sets))
        message = (
            f"{where}: {_name(spec)} gives {scores} scores per pair, and documents are ordered by one; "
            "leave the evaluation sets out, or set spec.model.numLabels to 1 for a new head"
        )
        yield InputProblem(Reason.INVALID_ARGUMENT, message)


def _check_modalities(spec: FinetuneJobSpec, table: OpenTable, model: Inspection) -> Iterator[InputProblem]:
    for part, found in table.modalities.items():
        known = _modalities(spec, model, is_query=part == QUERY or table.request.field.endswith("tables.queries"))
        if found not in known:
            message = (
                f"{table.request.field}: column {table.request.columns[part]} of dataset {table.request.dataset} holds "
                f"{found}s, but {_name(spec)} encodes {', '.join(known)} only"
            )
            yield InputProblem(Reason.UNSUPPORTED_MODALITY, message)


def _modalities(spec: FinetuneJobSpec, model: Inspection, *, is_query: bool) -> Sequence[str]:
    """Return what the model takes as a query or as a document."""
    router = spec.model.router
    if router is None or router.by == "Modality":
        return model.modalities
    route = model.loaded[0].sub_modules["query" if is_query else "document"]
    return [str(name) for name in getattr(route[0], "modalities", ["text"])]


def _name(spec: FinetuneJobSpec) -> str:
    return spec.model.source or "the model of spec.model.router"
