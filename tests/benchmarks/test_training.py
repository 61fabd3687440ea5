import random
from collections import Counter

import pytest

from benchmarks.training.compare import Case
from benchmarks.training.outcome import Outcome
from benchmarks.training.sides import PREPARE, Measured
from benchmarks.training.stopwatch import Stopwatch

MEGABYTE = 1_000_000


def measured(*, total: float, megabytes: int = 1000, final: float = 0.9) -> Measured:
    return Measured(
        total_seconds=total,
        cpu_seconds=total,
        phases={PREPARE: 0.0},
        ranks_peak_bytes=megabytes * MEGABYTE,
        tree_peak_bytes=megabytes * MEGABYTE,
        outcome=Outcome(baseline=0.5, final=final),
    )


def case(trainer: Measured, *, goal: float) -> Case:
    return Case(processes=1, reference=[measured(total=60)], trainer=[trainer], goal=goal)


def test_a_phase_inside_another_takes_its_time_out_of_it() -> None:
    times = iter([0.0, 1.0, 3.0, 7.0, 8.0])
    watch = Stopwatch(clock=lambda: next(times))

    with watch.phase("evaluation"), watch.phase("save"):
        pass

    assert dict(watch.seconds) == {"evaluation": 2.0 + 1.0, "save": 4.0}


def test_a_timed_method_counts_every_call_and_does_what_it_did() -> None:
    class Trainer:
        def step(self, rows: int, *, factor: int) -> int:
            return rows * factor

    times = iter([0.0, 1.0, 2.0, 5.0, 7.0])
    watch = Stopwatch(clock=lambda: next(times))
    watch.time_method(Trainer, "step", "step")

    results = [Trainer().step(2, factor=3), Trainer().step(4, factor=5)]

    assert results == [6, 20]
    assert dict(watch.seconds) == {"step": 1.0 + 2.0}


def test_a_case_that_is_faster_but_not_as_much_as_it_is_to_be_says_so() -> None:
    found = [case(measured(total=25), goal=goal).shortfalls for goal in (2.0, 3.0)]

    assert found == [[], ["2.40 times faster in total than the published script, 3 is the goal"]]


def test_an_experts_script_is_a_side_with_a_goal_of_its_own() -> None:
    sides = {"reference": [measured(total=100)], "expert": [measured(total=40)], "trainer": [measured(total=20)]}
    reached, missed = (Case(processes=1, goal=4.0, expert_goal=goal, **sides) for goal in (2.0, 2.5))

    assert reached.speed == {"the published script": (5.0, 4.0), "an expert's script": (2.0, 2.0)}
    assert reached.shortfalls == []
    assert missed.shortfalls == ["2.00 times faster in total than an expert's script, 2.5 is the goal"]


def test_memory_and_ndcg_are_goals_too() -> None:
    found = case(measured(total=20, megabytes=1500, final=0.89), goal=2.0).shortfalls

    assert found == [
        "ranks take 1.50 times the memory",
        "all processes take 1.50 times the memory",
        "final NDCG@10 is 0.0100 lower, 0.005 is allowed",
    ]


def test_a_case_of_several_rounds_counts_by_its_median() -> None:
    rounds = Case(
        processes=1,
        reference=[measured(total=total) for total in (60, 60, 60)],
        trainer=[measured(total=total) for total in (20, 30, 200)],
    )

    assert rounds.ratio("total_seconds") == pytest.approx(2.0)


def test_a_hard_negative_differs_from_its_page_in_one_attribute_or_is_another_rows_page() -> None:
    from benchmarks.training.pages import Sheet, choose_negatives
    from examples.inputs.pages import split_pages

    positives = [Sheet(page, number) for number, page in enumerate(split_pages(repeats=1).train[:50])]

    negatives = list(choose_negatives(positives, rng=random.Random(0), shared_every=5))

    pairs = list(zip(positives, negatives, strict=True))
    differences = [sum(a != b for a, b in zip(one.page, other.page, strict=True)) for one, other in pairs]
    assert Counter(other in positives for _, other in pairs) == {False: 40, True: 10}
    assert {count for number, count in enumerate(differences) if number % 5} == {1}
    assert min(differences) == 1


def test_a_question_to_rerank_for_has_its_page_one_that_is_close_and_that_of_another_question() -> None:
    from benchmarks.training.page_pairs import label_pairs
    from examples.inputs.pages import build_questions, split_pages

    pages = split_pages(repeats=1).train[:20]

    pairs = list(label_pairs(pages, rng=random.Random(0)))

    assert [pair.label for pair in pairs] == [1.0, 0.0, 0.0] * 20
    for number, page in enumerate(pages):
        right, close, other = pairs[3 * number : 3 * number + 3]
        assert right.query == close.query == other.query
        assert right.query in build_questions(page)
        assert right.sheet.page == page
        assert sum(a != b for a, b in zip(close.sheet.page, page, strict=True)) == 1
        assert other.sheet.page in set(pages) - {page}
