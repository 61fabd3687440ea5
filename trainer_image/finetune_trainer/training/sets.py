"""The training sets of a job: each with its rows, its batches and its objective."""

from dataclasses import dataclass

from datasets import Dataset

from finetune_api.losses import Label
from finetune_api.objective import Loss
from finetune_api.reasons import Reason
from finetune_api.sense import objective_of
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.data.manifest import InputsManifest, PreparedTrain
from finetune_trainer.failures import RunFailure
from finetune_trainer.training.mixture import MixedBatches
from finetune_trainer.training.rows import read_rows
from finetune_trainer.training.sampler import DistinctBatches, LabelBatches, SetBatches, number_cells

#: Losses that look for triplets among rows of equal and different labels.
MINE_TRIPLETS = frozenset(
    {"BatchAllTripletLoss", "BatchHardTripletLoss", "BatchSemiHardTripletLoss", "BatchHardSoftMarginTripletLoss"}
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
    spec: FinetuneJobSpec, inputs: InputsManifest, workspace: Workspace, *, world_size: int
) -> list[TrainingSet]:
    """Return the training sets in the order of the spec.

    Raises:
        RunFailure: a set has too few rows for the ranks, or for its loss.

    """
    objectives = {dataset.name: objective_of(spec, dataset) for dataset in spec.data.train}
    sets = []
    for prepared in inputs.train:
        rows, objective = read_rows(workspace, prepared), objectives[prepared.name]
        batches = batches_of(prepared, rows, objective, spec=spec, world_size=world_size)
        sets.append(TrainingSet(prepared, objective, rows, batches))
    return sets


def batches_of(
    prepared: PreparedTrain, rows: Dataset, objective: Loss, *, spec: FinetuneJobSpec, world_size: int
) -> SetBatches:
    """Return the batches of one set. With fewer rows than one batch per rank, the batches shrink."""
    if len(rows) < world_size:
        raise RunFailure(
            Reason.EMPTY_DATASET,
            f"data.train {prepared.name}: {len(rows)} rows cannot be split over {world_size} processes; add rows",
        )
    batch_size = min(spec.training.per_device_train_batch_size, len(rows) // world_size)
    seed = spec.training.seed
    if objective.name in MINE_TRIPLETS or objective.arguments.get("loss") in MINE_TRIPLETS:
        return LabelBatches(rows, name=prepared.name, batch_size=batch_size, world_size=world_size, seed=seed)
    if prepared.label is Label.NONE:
        cells = number_cells([rows[column.name] for column in prepared.columns])
    else:  # no row is another row's negative
        cells = [frozenset({number}) for number in range(len(rows))]
    return DistinctBatches(cells, batch_size=batch_size, world_size=world_size, seed=seed)


def mix(sets: list[TrainingSet], spec: FinetuneJobSpec, *, world_size: int) -> MixedBatches:
    """Return the batches of all sets together, as spec.data.sampling says."""
    in_turn = spec.data.sampling == "RoundRobin"
    return MixedBatches([one.batches for one in sets], world_size=world_size, seed=spec.training.seed, in_turn=in_turn)
