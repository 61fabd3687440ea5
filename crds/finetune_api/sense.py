"""Whether model kind, losses, columns, evaluators and the metric fit together, before anything is fetched."""

import re
from collections.abc import Iterable, Iterator

from finetune_api.datasets import EvaluationDataset, TrainDataset
from finetune_api.evaluators import EVALUATORS, Evaluator, columns_fit, default_evaluator, yields
from finetune_api.gate import ungated_note
from finetune_api.hold_out import fitting_evaluators, held_out_set
from finetune_api.losses import (
    COMPARED_BY,
    LOSS_ALIASES,
    NOT_LOSSES,
    SIMILARITY_FUNCTIONS,
    Kind,
    Label,
    Layout,
    LossRule,
    Similarity,
    loss_rule,
    losses_of,
)
from finetune_api.near import closest
from finetune_api.objective import Loss
from finetune_api.problem import Problem
from finetune_api.types import FinetuneJobSpec

METRIC = "spec.evaluation.metric"
_ADD_SETS = "add data.evaluation, or holdOut to a training set, or leave it out"


def check_sense(spec: FinetuneJobSpec) -> list[Problem]:
    """Return everything that does not fit."""
    return [
        *_check_losses(spec),
        *_check_learning_rates(spec),
        *_check_prompts(spec),
        *_check_mining(spec),
        *_check_hold_out(spec),
        *_check_evaluations(spec),
        *_check_metric(spec),
        *_check_also(spec),
    ]


def notes(spec: FinetuneJobSpec, *, similarity: Similarity | None = None) -> list[str]:
    """Return what is accepted but deserves a look.

    Names that do not exist, losses that compare as the model does not, models that nothing is known of when published.

    Args:
        spec: of the job.
        similarity: of the model, where it is known; what the spec says if not.

    """
    losses = {"spec.training.loss": spec.training.loss}
    losses |= {f"spec.data.train[{i}].loss": d.loss for i, d in enumerate(spec.data.train) if d.loss is not None}
    aliases = [
        f"{path}.name: the library has no {loss.name}; {LOSS_ALIASES[loss.name]} is used"
        for path, loss in losses.items()
        if loss.name in LOSS_ALIASES
    ]
    compared = [_compares_otherwise(path, loss, similarity or spec.model.similarity) for path, loss in losses.items()]
    return [*aliases, *(note for note in [*compared, ungated_note(spec)] if note is not None)]


def _compares_otherwise(path: str, loss: Loss, similarity: Similarity | None) -> str | None:
    inner = str(loss.arguments.get("loss", loss.name))
    stated = loss.arguments.get("similarity_fct")
    by = COMPARED_BY.get(inner) if stated is None else SIMILARITY_FUNCTIONS.get(str(stated))
    if by is None or similarity is None or by == similarity:
        return None
    return (
        f"{path}: {inner} compares embeddings by {by}, and the model by {similarity}, which is not the same unless "
        f"they are normalized; set spec.model.similarity to {by}, or similarity_fct among the loss's arguments"
    )


def objective_of(spec: FinetuneJobSpec, dataset: TrainDataset) -> Loss:
    """Return the loss that `dataset` is trained with."""
    return dataset.loss or spec.training.loss


def evaluator_of(spec: FinetuneJobSpec, dataset: EvaluationDataset) -> Evaluator:
    """Return what is measured on `dataset`."""
    return dataset.evaluator or default_evaluator(spec.model.kind)


def evaluation_sets(spec: FinetuneJobSpec) -> dict[str, EvaluationDataset]:
    """Return every evaluation set by its field path: those of data.evaluation, then those of holdOut."""
    named = {f"spec.data.evaluation[{index}]": dataset for index, dataset in enumerate(spec.data.evaluation)}
    held_out = {
        f"spec.data.train[{index}].holdOut": held_out_set(dataset, evaluator)
        for index, dataset in enumerate(spec.data.train)
        if dataset.hold_out is not None and (evaluator := _evaluator_of_held_out(spec, dataset)) is not None
    }
    return named | held_out


def _evaluator_of_held_out(spec: FinetuneJobSpec, dataset: TrainDataset) -> Evaluator | None:
    """Return what fits the rows and yields the metric, else what fits them; None if nothing does."""
    rule = rule_of(objective_of(spec, dataset), spec)
    fitting = fitting_evaluators(dataset, Label.NONE if rule is None else rule.label, spec.model.kind)
    wanted = (one for one in fitting if yields(one, spec.evaluation.metric))
    return next(wanted, fitting[0] if fitting else None)


def judging_set(spec: FinetuneJobSpec) -> EvaluationDataset | None:
    """Return the evaluation set that spec.evaluation.metric is taken from; None without one."""
    wanted = spec.evaluation.dataset
    return next((dataset for dataset in evaluation_sets(spec).values() if wanted in (None, dataset.name)), None)


def rule_of(loss: Loss, spec: FinetuneJobSpec) -> LossRule | None:
    """Return what `loss` takes, that of the inner loss if it wraps one; None if this kind of model has no such loss."""
    rule = loss_rule(loss.name, spec.model.kind)
    if rule is None or not rule.wraps:
        return rule
    inner = loss_rule(str(loss.arguments.get("loss")), spec.model.kind)
    return None if inner is None or inner.wraps else inner


def expands(dataset: TrainDataset, rule: LossRule) -> bool:
    """Say whether prepare makes pairs or lists with labels of rows of query, positive and negatives."""
    return dataset.columns.layout is Layout.RETRIEVAL and rule.label is not Label.NONE


def _check_losses(spec: FinetuneJobSpec) -> Iterator[Problem]:
    for index, dataset in enumerate(spec.data.train):
        loss = objective_of(spec, dataset)
        path = f"spec.data.train[{index}].loss" if dataset.loss else "spec.training.loss"
        rule = rule_of(loss, spec)
        if rule is None:
            yield _unknown_loss(path, loss, spec)
            continue
        if loss.matryoshka_dimensions and not rule.matryoshka:
            yield Problem(
                f"{path}.matryoshkaDimensions",
                list(loss.matryoshka_dimensions),
                f"MatryoshkaLoss cannot be put around {loss.name}",
                "leave matryoshkaDimensions out or choose another loss",
            )
        yield from _check_wrapper(path, loss, rule, spec)
        yield from _check_scores(f"spec.data.train[{index}]", loss, rule, spec)
        yield from _check_layout(f"spec.data.train[{index}].columns", dataset, loss, rule, spec)


def _check_wrapper(path: str, loss: Loss, inner: LossRule, spec: FinetuneJobSpec) -> Iterator[Problem]:
    """Yield why a loss that is put around another one does not go with it, or with the dimensions."""
    rule = loss_rule(loss.name, spec.model.kind)
    if rule is None or not rule.wraps:
        return
    if inner.no_layers:
        because = f"{loss.name} cannot be put around it: {inner.no_layers}"
        fix = "name a plain loss, for example MultipleNegativesRankingLoss"
        yield Problem(f"{path}.arguments.loss", loss.arguments["loss"], because, fix)
    if rule.matryoshka and not loss.matryoshka_dimensions:
        yield Problem(f"{path}.matryoshkaDimensions", [], f"{loss.name} needs dimensions", "give them, largest first")
    if loss.matryoshka_dimensions and not rule.matryoshka:
        because = f"{loss.name} takes no dimensions"
        yield Problem(f"{path}.name", loss.name, because, "choose Matryoshka2dLoss or leave matryoshkaDimensions out")


def _check_scores(path: str, loss: Loss, rule: LossRule, spec: FinetuneJobSpec) -> Iterator[Problem]:
    """Yield why a reranker that the spec gives so many scores per pair cannot be trained with the loss."""
    labels = spec.model.num_labels
    if spec.model.kind != "Reranker" or labels is None or (labels > 1) == (rule.label is Label.CLASS):
        return
    because = f"{loss.name}, which trains on {path}, takes {'one score' if labels > 1 else 'a score for each class'}"
    other = "CrossEntropyLoss" if labels > 1 else "BinaryCrossEntropyLoss"
    fix = f"{'set it to 1' if labels > 1 else 'set it to their number'}, or choose {other}"
    yield Problem("spec.model.numLabels", labels, because, fix)


def _check_learning_rates(spec: FinetuneJobSpec) -> Iterator[Problem]:
    for pattern in spec.training.learning_rates:
        try:
            re.compile(pattern)
        except re.error as error:
            because = f"it is no regular expression ({error})"
            yield Problem("spec.training.learningRates", pattern, because, "write it as Python's re does")


def _check_prompts(spec: FinetuneJobSpec) -> Iterator[Problem]:
    document = spec.model.prompts.document
    if spec.model.kind == "Reranker" and document is not None:
        because = "a reranker has one instruction for the pair"
        yield Problem("spec.model.prompts.document", document, because, "use prompts.query")


def _unknown_loss(path: str, loss: Loss, spec: FinetuneJobSpec) -> Problem:
    known = losses_of(spec.model.kind)
    inner = loss_rule(loss.name, spec.model.kind)
    if inner is not None:
        name = loss.arguments.get("loss")
        because = f"{loss.name} is put around a loss that takes rows"
        wrapped = [one for one, rule in known.items() if not rule.wraps]
        return Problem(f"{path}.arguments.loss", name, because, _nearest(name, wrapped))
    other: Kind = "Reranker" if spec.model.kind == "Embedding" else "Embedding"
    if loss_rule(loss.name, other) is not None:
        because = f"it trains models of kind {other}, and this one is of kind {spec.model.kind}"
        return Problem(f"{path}.name", loss.name, because, f"choose one of {', '.join(known)}")
    because = f"a model of kind {spec.model.kind} has no such loss"
    return Problem(f"{path}.name", loss.name, because, _nearest(loss.name, known))


def _nearest(name: object, known: Iterable[str]) -> str:
    if name in NOT_LOSSES:
        return NOT_LOSSES[str(name)]
    near = closest(str(name), known)
    return f"did you mean {near}?" if near else f"choose one of {', '.join(known)}"


def _losses_for(layout: Layout, spec: FinetuneJobSpec) -> str:
    """Return some losses that take rows of this form."""
    usable = [name for name, rule in losses_of(spec.model.kind).items() if layout in rule.layouts]
    return f"a loss that takes them, as {' or '.join(usable[:3])}" if usable else "another loss"


def _check_layout(
    path: str, dataset: TrainDataset, loss: Loss, rule: LossRule, spec: FinetuneJobSpec
) -> Iterator[Problem]:
    columns = dataset.columns
    layout = columns.layout
    if layout not in rule.layouts:
        wanted = " or ".join(one.value for one in rule.layouts)
        label = "" if rule.label is Label.NONE else f", where label is {rule.label.value}"
        because = f"{loss.name} takes {wanted}{label}"
        yield Problem(path, layout.value, because, f"change the columns or choose {_losses_for(layout, spec)}")
        return
    if rule.label is not Label.NONE and layout is not Layout.RETRIEVAL and columns.label is None:
        because = f"{loss.name} needs a label, {rule.label.value}"
        yield Problem(f"{path}.label", None, because, "name its column")
    if expands(dataset, rule) and not columns.negatives and dataset.mine_negatives is None:
        because = f"{loss.name} compares answers with documents that are none"
        yield Problem(f"{path}.negatives", [], because, "name columns of negatives, set mineNegatives, or give labels")
    fewest, most = rule.negatives
    given = len(columns.negatives) or (dataset.mine_negatives.num_negatives if dataset.mine_negatives else 0)
    # One column may hold lists of any length, so that only its presence is known here.
    too_many = given > most and not (len(columns.negatives) == 1 and most > 0)
    if layout in (Layout.RETRIEVAL, Layout.SCORED) and (given < fewest or too_many):
        counts = (
            f"exactly {fewest}" if fewest == most else f"at least {fewest}" if given < fewest else f"at most {most}"
        )
        because = f"{loss.name} takes {counts} negative{'' if counts.endswith(' 1') else 's'} per row"
        yield Problem(f"{path}.negatives", list(columns.negatives), because, "name as many columns")


def _check_mining(spec: FinetuneJobSpec) -> Iterator[Problem]:
    for index, dataset in enumerate(spec.data.train):
        if dataset.mine_negatives is None:
            continue
        path = f"spec.data.train[{index}].mineNegatives"
        if dataset.columns.layout is not Layout.RETRIEVAL or dataset.columns.negatives:
            because = "negatives are mined for rows of query and positive alone"
            yield Problem(path, dataset.columns.layout.value, because, "leave mineNegatives or the other columns out")
        wanted = dataset.mine_negatives
        if wanted.range_max is not None and wanted.num_negatives > wanted.range_max - wanted.range_min:
            because = f"it leaves less than {wanted.num_negatives} documents after rangeMin {wanted.range_min}"
            yield Problem(f"{path}.rangeMax", wanted.range_max, because, "raise it")
        if spec.model.kind == "Reranker" and dataset.mine_negatives.source is None:
            because = "a reranker cannot look for documents"
            yield Problem(f"{path}.source", None, because, "name an embedding model that looks for negatives")


def _check_hold_out(spec: FinetuneJobSpec) -> Iterator[Problem]:
    for index, dataset in enumerate(spec.data.train):
        if dataset.hold_out is None or _evaluator_of_held_out(spec, dataset) is not None:
            continue
        rule = rule_of(objective_of(spec, dataset), spec)
        label = f" ({rule.label.value})" if rule is not None and dataset.columns.label is not None else ""
        because = f"no evaluator measures rows of {dataset.columns.layout}{label}"
        fix = "name a set in data.evaluation instead"
        if dataset.columns.positive is not None:
            because = "a reranker is measured by ranking, and the rows name no documents that are no answers"
            fix = f"name columns.negatives (mineNegatives looks for training alone), or {fix}"
        yield Problem(f"spec.data.train[{index}].holdOut", dataset.hold_out, because, fix)


def _check_evaluations(spec: FinetuneJobSpec) -> Iterator[Problem]:
    labels = spec.model.num_labels
    if labels is not None and labels > 1 and evaluation_sets(spec):
        because = "documents are ordered by one score, and this model gives several"
        fix = "leave data.evaluation and holdOut out or set numLabels to 1"
        yield Problem("spec.model.numLabels", labels, because, fix)
    for path, dataset in evaluation_sets(spec).items():
        evaluator = evaluator_of(spec, dataset)
        rule = EVALUATORS[evaluator]
        if spec.model.kind not in rule.kinds:
            because = f"a model of kind {spec.model.kind} cannot be measured by it"
            usable = [str(name) for name, one in EVALUATORS.items() if spec.model.kind in one.kinds]
            yield Problem(f"{path}.evaluator", str(evaluator), because, f"choose one of {', '.join(usable)}")
            continue
        yield from _check_parts(path, dataset, evaluator)


def _check_parts(path: str, dataset: EvaluationDataset, evaluator: Evaluator) -> Iterator[Problem]:
    if dataset.columns is None:
        if evaluator is not Evaluator.INFORMATION_RETRIEVAL:
            because = f"{evaluator} has no queries, corpus and relevantDocuments"
            yield Problem(f"{path}.tables", "three tables", because, "give columns instead")
        return
    if dataset.columns.label is not None and dataset.columns.positive is not None:
        because = f"what is in {dataset.columns.positive} is an answer whatever its label"
        fix = "leave label out, or name document or documents instead of positive"
        yield Problem(f"{path}.columns.label", dataset.columns.label, because, fix)
    given = dataset.columns.given
    if not columns_fit(evaluator, given):
        wanted = " or ".join(", ".join(names) for names in EVALUATORS[evaluator].columns)
        because = f"{evaluator} needs {wanted}"
        yield Problem(f"{path}.columns", ", ".join(sorted(given)), because, "name these columns")


def _check_metric(spec: FinetuneJobSpec) -> Iterator[Problem]:
    sets = evaluation_sets(spec)
    if not sets:
        if spec.evaluation.dataset is not None:
            because = "there is no evaluation set"
            yield Problem("spec.evaluation.dataset", spec.evaluation.dataset, because, _ADD_SETS)
        return
    dataset = judging_set(spec)
    if dataset is None:
        names = ", ".join(one.name for one in sets.values())
        because = "no evaluation set has this name"
        yield Problem("spec.evaluation.dataset", spec.evaluation.dataset, because, f"name one of {names}")
        return
    evaluator = evaluator_of(spec, dataset)
    if not yields(evaluator, spec.evaluation.metric):
        because = f"{evaluator}, which measures {dataset.name}, yields {_metrics_of(evaluator)}"
        yield Problem(METRIC, spec.evaluation.metric, because, "choose one of these")


def _check_also(spec: FinetuneJobSpec) -> Iterator[Problem]:
    """Yield the further metrics that no evaluation set yields."""
    evaluators = dict.fromkeys(evaluator_of(spec, dataset) for dataset in evaluation_sets(spec).values())
    for index, metric in enumerate(spec.evaluation.also_report):
        if any(yields(evaluator, metric) for evaluator in evaluators):
            continue
        path = f"spec.evaluation.alsoReport[{index}]"
        if not evaluators:
            yield Problem(path, metric, "there is no evaluation set", _ADD_SETS)
            continue
        given = "; ".join(f"{evaluator} yields {_metrics_of(evaluator)}" for evaluator in evaluators)
        yield Problem(path, metric, f"no evaluation set yields it: {given}", "choose among these")


def _metrics_of(evaluator: Evaluator) -> str:
    rule = EVALUATORS[evaluator]
    return ", ".join(f"{name}@k" if rule.at_k else name for name in rule.metrics)
