"""Numbers as characters."""

from finetune_cli.cluster.shapes import age, bar, columns, sparkline


def test_a_sparkline_goes_from_the_least_to_the_most() -> None:
    assert sparkline([2.0, 1.5, 1.0, 0.5, 0.0]) == "█▆▅▃▁"
    assert sparkline([0.5, 0.5]) == "▁▁"
    assert sparkline([]) == ""


def test_a_sparkline_is_seen_against_a_baseline() -> None:
    assert sparkline([0.9, 1.0], also=[0.0]) == "▇█"


def test_a_bar_is_as_wide_as_it_should_be_whatever_is_reported() -> None:
    assert bar(50, width=4) == ("██", "░░")
    assert bar(140, width=4) == ("████", "")
    assert bar(-1, width=4) == ("", "░░░░")


def test_columns_stand_below_one_another_without_trailing_blanks() -> None:
    assert list(columns([["NAME", "AGE"], ["pages", "5m"], ["x", ""]])) == ["NAME    AGE", "pages   5m", "x"]


def test_ages_are_short() -> None:
    assert [age(seconds) for seconds in (0, 119, 120, 7199, 7200, 172800)] == ["0s", "119s", "2m", "119m", "2h", "2d"]
