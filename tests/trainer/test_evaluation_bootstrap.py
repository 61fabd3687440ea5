"""The interval of an improvement: nothing where nothing changed, narrower with more rows, right as often as it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_trainer.train.evaluation.bootstrap import LEAST_ROWS, MOST_ROWS, Interval, improvement_interval
from finetune_trainer.train.evaluation.measurement import Sample
from finetune_trainer.train.evaluation.statistics import measure, statistic

STATISTICS = ("spearman", "pearson", "ap", "f1", "accuracy", "precision", "recall", "mcc")


def per_query(values: np.ndarray) -> Sample:
    return Sample(values=values.tolist())


def scored(labels: np.ndarray, *, noise: float, seed: int) -> Sample:
    """Return scores that follow the labels as well as the noise lets them, with ties."""
    scores = labels + np.random.default_rng(seed).normal(0, noise, len(labels))
    return Sample(values=np.round(scores, 1).tolist(), labels=labels.tolist())


def draw_labels(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(2, size=count).astype(float)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=LEAST_ROWS, max_size=60), st.floats(0.5, 0.999))
def test_equal_values_of_every_query_give_no_width(values: list[float], confidence: float) -> None:
    same = Sample(values=values)

    assert improvement_interval("ndcg@10", same, same, confidence=confidence) == Interval(0, 0)


@pytest.mark.parametrize("metric", STATISTICS)
def test_equal_scores_of_every_row_give_no_width(metric: str) -> None:
    same = scored(draw_labels(50), noise=0.5, seed=0)

    assert improvement_interval(metric, same, same, confidence=0.95) == Interval(0, 0)


def test_the_interval_holds_the_improvement_and_is_the_same_each_time() -> None:
    before = np.random.default_rng(0).random(300)
    after = np.clip(before + np.random.default_rng(1).normal(0.06, 0.2, 300), 0, 1)

    first, second = (
        improvement_interval("ndcg@10", per_query(before), per_query(after), confidence=0.95) for _ in range(2)
    )

    assert first is not None
    assert first.low < (after - before).mean() < first.high
    assert first == second


def test_more_confidence_takes_a_wider_interval() -> None:
    before, after = np.random.default_rng(0).random((2, 200))

    widths = []
    for confidence in (0.5, 0.9, 0.99):
        interval = improvement_interval("ndcg@10", per_query(before), per_query(after), confidence=confidence)
        assert interval is not None
        widths.append(interval.high - interval.low)

    assert widths == sorted(widths)
    assert widths[2] > 3 * widths[0]


@pytest.mark.parametrize("metric", ["ndcg@10", "spearman", "ap"])
def test_sixteen_times_the_rows_make_it_a_quarter_as_wide(metric: str) -> None:
    labels = draw_labels(100)
    once = [scored(labels, noise=noise, seed=seed) for noise, seed in ((0.9, 1), (0.6, 2))]

    widths = []
    for times in (1, 16):
        before, after = (
            Sample(values=one.values * times, labels=[] if "@" in metric else one.labels * times) for one in once
        )
        interval = improvement_interval(metric, before, after, confidence=0.95)
        assert interval is not None
        widths.append(interval.high - interval.low)

    assert widths[0] / widths[1] == pytest.approx(4, rel=0.15)


def test_of_many_intervals_about_as_many_hold_the_truth_as_they_are_confident() -> None:
    generator, truth, trials = np.random.default_rng(0), 0.05, 300
    hits = 0
    for _ in range(trials):
        difference = generator.normal(truth, 0.3, size=80)
        interval = improvement_interval("ndcg@10", per_query(difference * 0), per_query(difference), confidence=0.9)
        assert interval is not None
        hits += interval.low <= truth <= interval.high

    assert 0.85 <= hits / trials <= 0.94


@pytest.mark.parametrize("metric", STATISTICS)
def test_a_statistic_of_a_resample_is_that_of_the_rows_it_drew(metric: str) -> None:
    labels = draw_labels(40)
    scores = np.array(scored(labels, noise=0.8, seed=3).values)
    drawn = np.random.default_rng(4).integers(40, size=(20, 40))
    counts = np.stack([np.bincount(rows, minlength=40) for rows in drawn])

    found = statistic(metric, labels=labels, scores=scores)(counts)

    expected = [measure(metric, labels=labels[rows], scores=scores[rows]) for rows in drawn]
    assert found == pytest.approx(expected)
    assert len(set(expected)) > 5


@pytest.mark.parametrize(("rows", "is_known"), [(1, False), (LEAST_ROWS - 1, False), (LEAST_ROWS, True)])
def test_a_handful_of_queries_tells_nothing_of_how_sure_an_improvement_is(rows: int, *, is_known: bool) -> None:
    before, after = np.random.default_rng(0).random((2, rows))

    interval = improvement_interval("ndcg@10", per_query(before), per_query(after), confidence=0.95)

    assert (interval is not None) == is_known


def test_more_rows_than_can_be_drawn_in_seconds_give_no_interval() -> None:
    many = Sample(values=[0.0] * (MOST_ROWS + 1))

    assert improvement_interval("ndcg@10", many, many, confidence=0.95) is None
