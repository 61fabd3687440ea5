"""What can be known only of the tables that prepare has written: batches for all processes, images for the model.

Imports torch.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.contract import RunConfig
from finetune_api.reasons import Reason
from finetune_api.sense import evaluation_sets, judging_set, objective_of
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.capacity import job_of
from finetune_trainer.prepare.checks.limits import check_images
from finetune_trainer.prepare.layout.writing import WrittenInputs
from finetune_trainer.prepare.rows.requests import DOCUMENT, POSITIVE, QUERY
from finetune_trainer.recipe.batches.dealing import find_deal
from finetune_trainer.recipe.batches.rows import read_rows
from finetune_trainer.recipe.batches.sets import (
    batches_of,
    has_in_batch_negatives,
    learns_nothing,
    looks_for_triplets,
    mix,
    most_at_once,
    objective_in,
    path_of,
    read_sets,
    smaller_batches,
)
from finetune_trainer.recipe.capacity.estimate import Job, accumulation_note, estimate
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import PreparedEvaluation, PreparedTrain
from finetune_trainer.workspace.problems import InputProblem, as_failure

#: Metrics that only ask whether documents are among the first k.
_AMONG_FIRST = ("recall", "accuracy", "precision")


def check_written(
    config: RunConfig, written: WrittenInputs, model: SentenceTransformer | CrossEncoder, workspace: Workspace
) -> list[str]:
    """Return what the user should know of the batches and of what they need.

    Raises:
        RunFailure: a set makes no batches for the processes of the job, holds images that are too long, or the job
            cannot fit into what it asks for.

    """
    spec, world_size = config.spec, config.world_size
    evaluations = dict(zip(evaluation_sets(spec), written.evaluations, strict=True))
    problems = [*_check_batches(spec, written.train, workspace, world_size=world_size)]
    problems += check_images(written.train, evaluations, model, spec.model, workspace)
    problems += _check_metric(spec, written.evaluations)
    problems += [] if problems else _check_smaller_gangs(config, written.train, workspace)
    if problems:
        raise as_failure(problems)
    tight = _check_capacity(job_of(config, written, model, workspace)) if config.in_pods else []
    doubled = (_doubled(one, spec, workspace, world_size=world_size) for one in written.train)
    return [*tight, *smaller_batches(written.train, spec, world_size=world_size), *(note for note in doubled if note)]


def _check_capacity(job: Job) -> list[str]:
    """Return what may not fit; fails with what cannot."""
    needs = estimate(job)
    if refused := [InputProblem(Reason.INVALID_ARGUMENT, one) for need in needs if (one := need.refusal())]:
        raise as_failure(refused)
    notes = [*(need.warning() for need in needs), accumulation_note(job)]
    return [note for note in notes if note is not None]


def _check_batches(
    spec: FinetuneJobSpec, train: Sequence[PreparedTrain], workspace: Workspace, *, world_size: int
) -> Iterator[InputProblem]:
    """Yield why training could not make batches; what it would do is tried where that can fail."""
    for index, (dataset, prepared) in enumerate(zip(spec.data.train, train, strict=True)):
        objective = objective_of(spec, dataset)
        if learns_nothing(prepared, spec, world_size=world_size):
            because = f"1 row per step has no other rows whose documents {objective.name} could tell its own from"
            fix = "give the set more rows, a larger spec.training.perDeviceTrainBatchSize, or columns.negatives"
            yield InputProblem(Reason.INVALID_ARGUMENT, f"spec.data.train[{index}]: {because}; {fix}")
            continue
        if most_at_once(prepared, spec) >= world_size and not looks_for_triplets(objective):
            continue
        rows = read_rows(workspace, prepared)
        try:
            batches_of(prepared, rows, objective, spec=spec, world_size=world_size)
        except RunFailure as failure:
            yield InputProblem(failure.reason, failure.message)


def _check_smaller_gangs(
    config: RunConfig, train: Sequence[PreparedTrain], workspace: Workspace
) -> Iterator[InputProblem]:
    """Yield why gangs as small as spec.resources.minNodes allows could not go on with the batches of a whole one."""
    spec, resources, whole = config.spec, config.spec.resources, config.world_size
    few = resources.gang_sizes[-1] * resources.processes_per_node
    if few == whole:
        return
    sets = read_sets(spec, train, workspace, world_size=whole)
    steps = mix(sets, spec, world_size=whole).steps
    if find_deal(sets, spec, began_with=whole, world_size=few, steps=steps) is None:
        because = f"the batches of {whole} processes cannot be shared among {few} with the same rows and the same loss"
        message = f"spec.resources.minNodes: {resources.min_nodes} is wrong because {because}; leave it out"
        yield InputProblem(Reason.INVALID_ARGUMENT, message)


def _check_metric(spec: FinetuneJobSpec, evaluations: Sequence[PreparedEvaluation]) -> Iterator[InputProblem]:
    """Yield why the metric that decides is the same for every model: no document can be behind the first k."""
    name, _, k = spec.evaluation.metric.partition("@")
    judging = judging_set(spec)
    for one in evaluations:
        if judging is not None and one.name == judging.name and name in _AMONG_FIRST and k and one.documents <= int(k):
            because = f"{one.name} has {one.documents} documents, all among the first {k} whatever the model"
            fix = f"choose ndcg@{k} or a k below {one.documents}"
            message = f"spec.evaluation.metric: {spec.evaluation.metric} is wrong because {because}; {fix}"
            yield InputProblem(Reason.INVALID_ARGUMENT, message)


def _doubled(prepared: PreparedTrain, spec: FinetuneJobSpec, workspace: Workspace, *, world_size: int) -> str | None:
    """Return a sentence about rows that the loss takes for wrong answers to what they answer; None without any.

    The batches of the first epoch are looked at, where some text or image comes more than once.
    """
    distinct = prepared.distinct.values()
    may_clash = any(count < prepared.rows for count in distinct) or len(prepared.columns) > len(distinct)
    if not may_clash or not has_in_batch_negatives(prepared, spec):
        return None
    rows = read_rows(workspace, prepared)
    batches = batches_of(prepared, rows, objective_in(prepared, spec), spec=spec, world_size=world_size)
    columns = {column.name: rows[column.name] for column in prepared.columns}
    clashing = sum(_num_clashing(batch, columns) for batch in batches.of_epoch(0))
    if not clashing:
        return None
    size = batches.batch_size * world_size
    counts = ", ".join(f"{count} different values of {name}" for name, count in prepared.distinct.items())
    return (
        f"{path_of(prepared, spec)}: {clashing} of {len(batches) * size} rows of an epoch share a batch of {size} "
        f"({world_size} processes x {batches.batch_size}) with a row of the same query or answer, or that has their "
        f"answer for a negative, and are trained on as wrong answers; {prepared.rows} rows have {counts}; lower "
        "spec.training.perDeviceTrainBatchSize, or take rows out"
    )


def _num_clashing(batch: Sequence[int], columns: Mapping[str, Sequence[str]]) -> int:
    """Return the rows of a batch whose query or answer another row has too, the answer perhaps as a negative."""
    cells = {name: [column[row] for row in batch] for name, column in columns.items()}
    once = [cells[name] for name in (QUERY, POSITIVE, DOCUMENT) if name in cells]
    counts = [Counter(column) for column in once]
    negatives = {cell for name, column in cells.items() if name.startswith("negative_") for cell in column}
    return sum(
        row[-1] in negatives or any(count[cell] > 1 for count, cell in zip(counts, row, strict=True))
        for row in zip(*once, strict=True)
    )
