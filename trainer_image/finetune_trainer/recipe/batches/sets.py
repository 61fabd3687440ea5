"""The training sets of a job: each with its rows, its batches and its objective."""

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset

from finetune_api.losses import LOSS_ALIASES, Label
from finetune_api.objective import Loss
from finetune_api.reasons import Reason
from finetune_api.sense import objective_of
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.batches.mixture import MixedBatches
from finetune_trainer.recipe.batches.rows import read_rows
from finetune_trainer.recipe.batches.sampler import DistinctBatches, LabelBatches, SetBatches, number_cells
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import PreparedTrain

#: Losses that look for triplets among rows of equal and different labels.
MINE_TRIPLETS = frozenset(
    {"BatchAllTripletLoss", "BatchHardTripletLoss", "BatchSemiHardTripletLoss", "BatchHardSoftMarginTripletLoss"}
)
#: Losses whose negatives are the other rows' documents, besides those that a row brings.
IN_BATCH_NEGATIVES = frozenset(
    {
        "MultipleNegativesRankingLoss",
        "CachedMultipleNegativesRankingLoss",
        "MultipleNegativesSymmetricRankingLoss",
        "CachedMultipleNegativesSymmetricRankingLoss",
        "GISTEmbedLoss",
        "CachedGISTEmbedLoss",
        "MegaBatchMarginLoss",
        "ContrastiveTensionLossInBatchNegatives",
    }
)


@dataclass(frozen=True)
class TrainingSet:
    """One of spec.data.train, prepared."""

    prepared: PreparedTrain
    objective: Loss
    rows: Dataset
    batches: SetBatches

    @property
    def name(self) -> str:
        """Return its name in the spec."""
        return self.prepared.name


def read_sets(
    spec: FinetuneJobSpec, train: Sequence[PreparedTrain], workspace: Workspace, *, world_size: int
) -> list[TrainingSet]:
    """Return the training sets in the order of the spec.

    Raises:
        RunFailure: a set has too few rows for the ranks, or for its loss.

    """
    sets = []
    for prepared in train:
        rows, objective = read_rows(workspace, prepared), objective_in(prepared, spec)
        batches = batches_of(prepared, rows, objective, spec=spec, world_size=world_size)
        sets.append(TrainingSet(prepared, objective, rows, batches))
    return sets


def batches_of(
    prepared: PreparedTrain, rows: Dataset, objective: Loss, *, spec: FinetuneJobSpec, world_size: int
) -> SetBatches:
    """Return the batches of one set. With fewer rows than one batch per rank, the batches shrink.

    So they do where other rows' answers are negatives and there are fewer different ones.
    """
    path = path_of(prepared, spec)
    if most_at_once(prepared, spec) < world_size:
        because = f"{_rows_at_once(prepared, spec)} cannot be split over {world_size} processes"
        raise RunFailure(Reason.EMPTY_DATASET, f"{path}: {because}; add rows")
    batch_size = batch_size_of(prepared, spec, world_size=world_size)
    seed = spec.training.seed
    if looks_for_triplets(objective):
        return LabelBatches(rows, path=path, batch_size=batch_size, world_size=world_size, seed=seed)
    if prepared.label is Label.NONE:
        cells = number_cells([rows[column.name] for column in prepared.columns])
    else:  # no row is another row's negative
        cells = [frozenset({number}) for number in range(len(rows))]
    return DistinctBatches(cells, batch_size=batch_size, world_size=world_size, seed=seed)


def path_of(prepared: PreparedTrain, spec: FinetuneJobSpec) -> str:
    """Return where the set is in the spec."""
    return f"spec.data.train[{[dataset.name for dataset in spec.data.train].index(prepared.name)}]"


def batch_size_of(prepared: PreparedTrain, spec: FinetuneJobSpec, *, world_size: int) -> int:
    """Return the rows per process and step that the set has enough rows for."""
    return min(spec.training.per_device_train_batch_size, most_at_once(prepared, spec) // world_size)


def most_at_once(prepared: PreparedTrain, spec: FinetuneJobSpec) -> int:
    """Return the rows that can be in one batch of all processes, none a wrong answer to another that it answers."""
    return (
        min([prepared.rows, *prepared.distinct.values()]) if has_in_batch_negatives(prepared, spec) else prepared.rows
    )


def has_in_batch_negatives(prepared: PreparedTrain, spec: FinetuneJobSpec) -> bool:
    """Say whether the loss of the set takes the answers of other rows for wrong ones."""
    objective = objective_in(prepared, spec)
    names = {LOSS_ALIASES.get(objective.name, objective.name), objective.arguments.get("loss")}
    return not IN_BATCH_NEGATIVES.isdisjoint(names)


def objective_in(prepared: PreparedTrain, spec: FinetuneJobSpec) -> Loss:
    """Return the loss that the set is trained with."""
    return objective_of(spec, next(dataset for dataset in spec.data.train if dataset.name == prepared.name))


def _rows_at_once(prepared: PreparedTrain, spec: FinetuneJobSpec) -> str:
    """Return how many rows there are, or how many different ones, which are fewer."""
    most = most_at_once(prepared, spec)
    column = next((name for name, count in prepared.distinct.items() if count == most < prepared.rows), None)
    return f"{most} rows" if column is None else f"{most} different values of {column} in {prepared.rows} rows"


def smaller_batches(sets: Sequence[PreparedTrain], spec: FinetuneJobSpec, *, world_size: int) -> list[str]:
    """Return a sentence about each set whose batches are smaller than the spec says."""
    wanted = spec.training.per_device_train_batch_size
    sizes = [(one, batch_size_of(one, spec, world_size=world_size)) for one in sets]
    return [
        f"{path_of(one, spec)}: batches of {size} rows instead of {wanted}; {_why_smaller(one, spec, world_size)}"
        for one, size in sizes
        if size < wanted
    ]


def _why_smaller(prepared: PreparedTrain, spec: FinetuneJobSpec, world_size: int) -> str:
    if most_at_once(prepared, spec) == prepared.rows:
        return "the set fills no larger ones"
    because = f"{world_size} processes share {_rows_at_once(prepared, spec)}"
    return f"{because}, and a second one in a batch would be trained on as a wrong answer"


def looks_for_triplets(objective: Loss) -> bool:
    """Say whether the loss needs rows of equal and of different labels in each batch."""
    return objective.name in MINE_TRIPLETS or objective.arguments.get("loss") in MINE_TRIPLETS


def learns_nothing(prepared: PreparedTrain, spec: FinetuneJobSpec, *, world_size: int) -> bool:
    """Tell whether every loss is 0: one row in all per step, without negatives of its own."""
    has_negatives = len(prepared.columns) > len(("query", "positive"))
    num_rows = batch_size_of(prepared, spec, world_size=world_size) * world_size
    return has_in_batch_negatives(prepared, spec) and num_rows == 1 and not has_negatives


def mix(sets: list[TrainingSet], spec: FinetuneJobSpec, *, world_size: int) -> MixedBatches:
    """Return the batches of all sets together, as spec.data.sampling says."""
    in_turn = spec.data.sampling == "RoundRobin"
    return MixedBatches([one.batches for one in sets], world_size=world_size, seed=spec.training.seed, in_turn=in_turn)
