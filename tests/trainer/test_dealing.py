from typing import Any

import pytest
from datasets import Dataset

from finetune_api.losses import Label
from finetune_api.objective import Loss
from finetune_trainer.recipe.batches.dealing import Deal, deal
from finetune_trainer.recipe.batches.sampler import DistinctBatches
from finetune_trainer.recipe.batches.sets import TrainingSet
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import PreparedTrain
from tests.trainer.train_inputs import run_config

RANKING, CACHED = "MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss"


def dealt(*losses: str, began_with: int, now: int, accumulation: int = 1, steps: int = 6) -> Deal:
    """Deal batches of 8 rows, of a set for each loss."""
    arguments: dict[str, Any] = {"gradient_accumulation_steps": accumulation}
    spec = run_config(training={"perDeviceTrainBatchSize": 8, "arguments": arguments}).spec
    batches = DistinctBatches([], batch_size=8, world_size=began_with, seed=0)
    prepared = PreparedTrain(name="pages", columns=[], label=Label.NONE, rows=0)
    sets = [TrainingSet(prepared, Loss(name=loss), Dataset.from_dict({}), batches) for loss in losses]
    return deal(sets, spec, began_with=began_with, world_size=now, steps=steps)


@pytest.mark.parametrize(
    ("losses", "began_with", "now", "accumulation", "expected"),
    [
        ([CACHED], 2, 2, 3, Deal(2, 3)),
        ([CACHED], 2, 1, 1, Deal(parts=1, accumulation=1)),
        ([RANKING, "CosineSimilarityLoss"], 2, 4, 1, Deal(parts=4, accumulation=1)),
        (["CoSENTLoss"], 2, 1, 1, Deal(parts=2, accumulation=2)),
        (["CoSENTLoss", "CosineSimilarityLoss"], 2, 4, 2, Deal(parts=2, accumulation=1)),
        (["CosineSimilarityLoss"], 2, 4, 1, Deal(parts=4, accumulation=1)),
        (["CoSENTLoss"], 4, 3, 3, Deal(parts=4, accumulation=4)),
    ],
)
def test_the_rows_of_a_step_stay_the_same(
    losses: list[str], began_with: int, now: int, accumulation: int, expected: Deal
) -> None:
    assert dealt(*losses, began_with=began_with, now=now, accumulation=accumulation) == expected


@pytest.mark.parametrize(
    ("losses", "began_with", "now", "steps", "others"),
    [
        ([CACHED], 2, 3, 6, "1 or 2 or 4"),  # 16 rows
        (["CoSENTLoss"], 2, 4, 6, "1 or 2"),  # its 2 parts of a step may not be cut
        (
            ["CoSENTLoss", RANKING],
            2,
            1,
            6,
            "2",
        ),  # the parts of one loss may not be joined, those of the other have to be
        (["CoSENTLoss"], 4, 8, 7, "1 or 2 or 4"),
    ],
)
def test_what_would_change_the_rows_or_the_loss_is_refused(
    losses: list[str], began_with: int, now: int, steps: int, others: str
) -> None:
    with pytest.raises(RunFailure) as caught:
        dealt(*losses, began_with=began_with, now=now, steps=steps)

    assert caught.value.message == (
        f"spec.resources: {now} processes cannot go on with a training that {began_with} began: its batches cannot be "
        f"shared among them with the same rows and the same loss; ask for {others} processes, or remove "
        "train/checkpoints from the volume to begin anew"
    )
