import random
from collections import Counter

import pytest

from finetune_api.reasons import Reason
from finetune_trainer.failures import RunFailure
from finetune_trainer.training.sampler import DistinctBatches, number_cells
from finetune_trainer.training.schedule import Schedule, plan
from tests.trainer.train_inputs import run_config


def distinct(count: int) -> list[frozenset[int]]:
    return number_cells([[f"query {n}" for n in range(count)], [f"page {n}" for n in range(count)]])


def test_equal_cells_have_equal_numbers_in_whichever_column() -> None:
    rows = number_cells([["a", "b", "c"], ["x", "a", "x"]])

    assert rows == [frozenset({0, 1}), frozenset({2, 0}), frozenset({3, 1})]


def test_every_row_comes_once_and_every_rank_gets_the_same_number_of_full_batches() -> None:
    batches = list(DistinctBatches(distinct(50), batch_size=4, world_size=3, seed=1))

    assert [len(batch) for batch in batches] == [4] * 12
    assert max(Counter(row for batch in batches for row in batch).values()) == 1


def test_no_global_batch_holds_a_text_or_image_twice() -> None:
    rng = random.Random(0)
    rows = number_cells([[f"q{n}" for n in range(240)], [f"page {rng.randrange(80)}" for _ in range(240)]])

    batches = list(DistinctBatches(rows, batch_size=4, world_size=2, seed=1))

    global_batches = [one + other for one, other in zip(batches[::2], batches[1::2], strict=True)]
    clashes = [
        sum(map(len, (rows[row] for row in batch))) - len(frozenset().union(*(rows[row] for row in batch)))
        for batch in global_batches
    ]
    assert len(global_batches) == 30
    assert sum(clash > 0 for clash in clashes[:-3]) == 0, "only the last rows may have nothing else left"


def test_rows_that_all_collide_still_fill_their_batches() -> None:
    rows = number_cells([["the same"] * 20])

    assert sorted(row for batch in DistinctBatches(rows, batch_size=5, world_size=2, seed=0) for row in batch) == list(
        range(20)
    )


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(*, seed: int, epoch: int) -> list[list[int]]:
        batches = DistinctBatches(distinct(40), batch_size=4, world_size=2, seed=seed)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(seed=1, epoch=0) == order(seed=1, epoch=0)
    assert order(seed=1, epoch=0) != order(seed=1, epoch=1)
    assert order(seed=1, epoch=0) != order(seed=2, epoch=0)


def test_a_schedule_counts_steps_of_all_ranks_together() -> None:
    config = run_config(
        training={"perDeviceTrainBatchSize": 8, "numTrainEpochs": 1.5, "warmupRatio": 0.1},
        evaluation={"every": "25%"},
        checkpoint={"everySteps": 4},
    )

    schedule = plan(config.spec, rows=330, world_size=2)

    assert schedule == Schedule(
        batch_size=8,
        steps_per_epoch=20,
        total_steps=30,
        warmup_steps=3,
        evaluate_every=8,
        save_every=4,
        log_every=1,
    )
    assert [step for step in range(1, 31) if schedule.evaluates_after(step)] == [8, 16, 24, 30]
    assert [step for step in range(1, 31) if schedule.saves_after(step)] == [4, 8, 12, 16, 20, 24, 28, 30]


def test_a_share_of_all_steps_evaluates_once_at_the_end() -> None:
    schedule = plan(run_config(evaluation={"every": "100%"}).spec, rows=64, world_size=2)

    assert [step for step in range(1, 9) if schedule.evaluates_after(step)] == [8]


def test_few_rows_make_small_batches() -> None:
    schedule = plan(run_config().spec, rows=5, world_size=2)

    assert (schedule.batch_size, schedule.steps_per_epoch) == (2, 1)


def test_fewer_rows_than_ranks_are_refused() -> None:
    with pytest.raises(RunFailure, match="1 rows cannot be split over 2 processes") as caught:
        plan(run_config().spec, rows=1, world_size=2)

    assert caught.value.reason is Reason.EMPTY_DATASET
