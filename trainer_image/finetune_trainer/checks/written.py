"""What can be known only of the tables that prepare has written: batches for all processes, images for the model.

Imports torch.
"""

from collections.abc import Iterator, Sequence

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.contract import RunConfig
from finetune_api.reasons import Reason
from finetune_api.sense import objective_of
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.checks.limits import check_images
from finetune_trainer.data.manifest import PreparedTrain
from finetune_trainer.data.problems import InputProblem, as_failure
from finetune_trainer.data.writing import WrittenInputs
from finetune_trainer.failures import RunFailure
from finetune_trainer.training.rows import read_rows
from finetune_trainer.training.sets import batches_of, learns_nothing, looks_for_triplets, smaller_batches


def check_written(
    config: RunConfig, written: WrittenInputs, model: SentenceTransformer | CrossEncoder, workspace: Workspace
) -> list[str]:
    """Return what the user should know of the batches.

    Raises:
        RunFailure: a set makes no batches for the processes of the job, or holds images that are too long.

    """
    spec, world_size = config.spec, config.world_size
    problems = [*_check_batches(spec, written.train, workspace, world_size=world_size)]
    problems += check_images(written.train, written.evaluations, model, spec.model, workspace)
    if problems:
        raise as_failure(problems)
    return smaller_batches(written.train, spec, world_size=world_size)


def _check_batches(
    spec: FinetuneJobSpec, train: Sequence[PreparedTrain], workspace: Workspace, *, world_size: int
) -> Iterator[InputProblem]:
    """Yield why training could not make batches; what it would do is tried where that can fail."""
    for index, (dataset, prepared) in enumerate(zip(spec.data.train, train, strict=True)):
        objective = objective_of(spec, dataset)
        if learns_nothing(prepared, objective, spec, world_size=world_size):
            because = f"1 row per step has no other rows whose documents {objective.name} could tell its own from"
            fix = "give the set more rows, a larger spec.training.perDeviceTrainBatchSize, or columns.negatives"
            yield InputProblem(Reason.INVALID_ARGUMENT, f"spec.data.train[{index}]: {because}; {fix}")
            continue
        if prepared.rows >= world_size and not looks_for_triplets(objective):
            continue
        rows = read_rows(workspace, prepared)
        try:
            batches_of(prepared, rows, objective, spec=spec, world_size=world_size)
        except RunFailure as failure:
            yield InputProblem(failure.reason, failure.message)
