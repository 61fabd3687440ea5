"""A figure that was measured, and what it is to reach."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import print_table, write_json


@dataclass(frozen=True)
class Figure:
    """One row of the report."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    under: float | None = None

    @property
    def goal(self) -> str:
        """Return what is to be reached, in words; empty for a figure that explains another one."""
        if self.under is not None:
            return f"under {self.under:g}"
        return f"at most {self.at_most:g}" if self.at_most is not None else ""

    @property
    def is_reached(self) -> bool:
        """Tell whether the goal, if there is one, is reached."""
        is_within = self.at_most is None or self.value <= self.at_most
        return is_within and (self.under is None or self.value < self.under)

    @property
    def verdict(self) -> str:
        """Return whether the goal is reached, in a word."""
        return ("reached" if self.is_reached else "MISSED") if self.goal else ""


def report(name: str, figures: Sequence[Figure]) -> None:
    """Print the figures and write them to build/benchmarks/NAME.json."""
    header = ["figure", "value", "unit", "goal", ""]
    print_table(name, header, [[one.name, f"{one.value:.4g}", one.unit, one.goal, one.verdict] for one in figures])
    keys = ("figure", "value", "unit", "goal", "verdict")
    write_json(
        name, [dict(zip(keys, (one.name, one.value, one.unit, one.goal, one.verdict), strict=True)) for one in figures]
    )
