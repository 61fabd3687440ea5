import pytest

from benchmarks.operator.figure import Figure


@pytest.mark.parametrize(
    ("figure", "goal", "verdict"),
    [
        (Figure("one that explains another", 7), "", ""),
        (Figure("requests", 12, at_most=12), "at most 12", "reached"),
        (Figure("requests", 12.02, at_most=12), "at most 12", "MISSED"),
        (Figure("seconds", 19.99, "s", under=20), "under 20", "reached"),
        (Figure("seconds", 20, "s", under=20), "under 20", "MISSED"),
    ],
)
def test_a_figure_says_what_it_is_to_reach_and_whether_it_does(figure: Figure, goal: str, verdict: str) -> None:
    assert (figure.goal, figure.verdict) == (goal, verdict)
    assert figure.is_reached is (verdict != "MISSED")
