import random
from collections import Counter

import pytest
from datasets import Dataset

from finetune_api.reasons import Reason
from finetune_trainer.recipe.batches.mixture import MixedBatches
from finetune_trainer.recipe.batches.sampler import DistinctBatches, LabelBatches, number_cells
from finetune_trainer.recipe.batches.schedule import Schedule, plan
from finetune_trainer.workspace.failures import RunFailure
from tests.trainer.train_inputs import run_config


def distinct(count: int) -> list[frozenset[int]]:
    return number_cells([[f"query {n}" for n in range(count)], [f"page {n}" for n in range(count)]])


def batches_of(rows: list[frozenset[int]], *, batch_size: int, world_size: int, seed: int = 1) -> list[list[int]]:
    batches = DistinctBatches(rows, batch_size=batch_size, world_size=world_size, seed=seed)
    return list(batches.of_epoch(0))


def test_equal_cells_have_equal_numbers_in_whichever_column() -> None:
    rows = number_cells([["a", "b", "c"], ["x", "a", "x"]])

    assert rows == [frozenset({0, 1}), frozenset({2, 0}), frozenset({3, 1})]


def test_every_row_comes_once_and_every_rank_gets_the_same_number_of_full_batches() -> None:
    sets = [DistinctBatches(distinct(50), batch_size=4, world_size=3, seed=1)]

    batches = list(MixedBatches(sets, world_size=3, seed=1))

    assert [len(batch) for batch in batches] == [4] * 12
    assert max(Counter(row for batch in batches for row in batch).values()) == 1


def test_no_global_batch_holds_a_text_or_image_twice() -> None:
    rng = random.Random(0)
    rows = number_cells([[f"q{n}" for n in range(240)], [f"page {rng.randrange(80)}" for _ in range(240)]])

    batches = batches_of(rows, batch_size=4, world_size=2)

    clashes = [
        sum(map(len, (rows[row] for row in batch))) - len(frozenset().union(*(rows[row] for row in batch)))
        for batch in batches
    ]
    assert len(batches) == 30
    assert sum(clash > 0 for clash in clashes[:-3]) == 0, "only the last rows may have nothing else left"


def test_rows_that_all_collide_still_fill_their_batches() -> None:
    rows = number_cells([["the same"] * 20])

    batches = batches_of(rows, batch_size=5, world_size=2)

    assert sorted(row for batch in batches for row in batch) == list(range(20))


@pytest.mark.parametrize("in_turn", [False, True], ids=["Proportional", "RoundRobin"])
def test_the_order_depends_on_seed_and_epoch_alone(in_turn: bool) -> None:
    def order(*, seed: int, epoch: int) -> list[list[int]]:
        sets = [DistinctBatches(distinct(rows), batch_size=4, world_size=2, seed=seed) for rows in (40, 24)]
        batches = MixedBatches(sets, world_size=2, seed=seed, in_turn=in_turn)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(seed=1, epoch=0) == order(seed=1, epoch=0)
    assert order(seed=1, epoch=0) != order(seed=1, epoch=1)
    assert order(seed=1, epoch=0) != order(seed=2, epoch=0)


def sets_of_steps(batches: MixedBatches, *, starts: list[int], world_size: int) -> list[list[int]]:
    """Return for each step the sets that its ranks draw from."""
    drawn = [sum(batch[0] >= start for start in starts) - 1 for batch in batches]
    return [drawn[step : step + world_size] for step in range(0, len(drawn), world_size)]


def test_all_ranks_draw_from_the_same_set_in_each_step_and_every_set_is_used_up() -> None:
    sets = [DistinctBatches(distinct(rows), batch_size=size, world_size=3, seed=1) for rows, size in ((60, 4), (20, 2))]

    batches = MixedBatches(sets, world_size=3, seed=1)

    steps = sets_of_steps(batches, starts=[0, 60], world_size=3)
    assert all(len(set(step)) == 1 for step in steps)
    assert Counter(step[0] for step in steps) == {0: 5, 1: 3}
    assert (batches.steps, len(batches)) == (8, 24)
    assert {len(batch) for batch in batches if batch[0] < 60} == {4}
    assert {len(batch) for batch in batches if batch[0] >= 60} == {2}


def test_the_librarys_sampler_lets_ranks_draw_from_different_sets_in_one_step() -> None:
    from sentence_transformers.base.sampler import DefaultBatchSampler, ProportionalBatchSampler
    from torch.utils.data import ConcatDataset, RandomSampler

    datasets = [Dataset.from_dict({"query": ["text"] * rows}) for rows in (60, 20)]
    samplers = [DefaultBatchSampler(RandomSampler(one), batch_size=4, drop_last=True) for one in datasets]

    batches = ProportionalBatchSampler(ConcatDataset(datasets), batch_samplers=samplers)

    steps = sets_of_steps(batches, starts=[0, 60], world_size=3)
    assert any(len(set(step)) > 1 for step in steps)


def test_sets_in_turn_end_with_the_smallest() -> None:
    sets = [DistinctBatches(distinct(rows), batch_size=4, world_size=2, seed=1) for rows in (60, 20)]

    batches = MixedBatches(sets, world_size=2, seed=1, in_turn=True)

    steps = sets_of_steps(batches, starts=[0, 60], world_size=2)
    assert steps == [[0, 0], [1, 1]] * 2
    assert batches.steps == 4


def labeled(labels: list[int], *, batch_size: int, world_size: int) -> LabelBatches:
    return LabelBatches(
        Dataset.from_dict({"label": labels}),
        path="spec.data.train[0]",
        batch_size=batch_size,
        world_size=world_size,
        seed=1,
    )


def test_each_rank_gets_labels_that_come_twice_for_losses_that_mine_triplets() -> None:
    rng = random.Random(0)
    labels = [rng.randrange(7) for _ in range(120)]

    batches = list(MixedBatches([labeled(labels, batch_size=9, world_size=2)], world_size=2, seed=1))

    assert {len(batch) for batch in batches} == {8}
    assert len(batches) >= 10
    for batch in batches:
        counts = Counter(labels[row] for row in batch)
        assert len(counts) >= 2
        assert min(counts.values()) >= 2


@pytest.mark.parametrize(
    ("labels", "batch_size", "reason", "message"),
    [
        ([0, 0, 1, 1, 2, 2], 3, Reason.INVALID_ARGUMENT, "batches of 3 rows per process hold no triplets"),
        ([0, 1, 2, 3, 4, 5], 4, Reason.EMPTY_DATASET, "its labels make no batches of 4 rows for each of 2 processes"),
        ([0, 0, 1, 1, 2, 3], 4, Reason.EMPTY_DATASET, "its labels make no batches of 4 rows for each of 2 processes"),
    ],
    ids=["small batches", "every label once", "too few for two ranks"],
)
def test_labels_that_make_no_triplets_are_refused(
    labels: list[int], batch_size: int, reason: Reason, message: str
) -> None:
    with pytest.raises(RunFailure, match=message) as caught:
        labeled(labels, batch_size=batch_size, world_size=2)

    assert caught.value.reason is reason


def test_a_schedule_counts_optimizer_steps_over_all_batches() -> None:
    config = run_config(
        training={"perDeviceTrainBatchSize": 8, "numTrainEpochs": 1.5, "warmupRatio": 0.1},
        evaluation={"every": "25%"},
        checkpoint={"everySteps": 4},
    )

    schedule = plan(config.spec, batch_size=8, batches_per_epoch=20)

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


def test_accumulated_batches_make_one_step_and_an_epochs_last_step_may_be_of_fewer() -> None:
    config = run_config(training={"arguments": {"gradient_accumulation_steps": 4}, "numTrainEpochs": 2})

    schedule = plan(config.spec, batch_size=8, batches_per_epoch=21)

    assert (schedule.steps_per_epoch, schedule.total_steps) == (6, 12)


def test_a_share_of_all_steps_evaluates_once_at_the_end() -> None:
    schedule = plan(run_config(evaluation={"every": "100%"}).spec, batch_size=8, batches_per_epoch=4)

    assert [step for step in range(1, 9) if schedule.evaluates_after(step)] == [8]
