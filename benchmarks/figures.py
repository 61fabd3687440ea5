"""How a benchmark ends: a table for people, JSON for machines."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[1] / "build" / "benchmarks"
PLAIN_WIDTH = 120


def report(name: str, rows: list[tuple[str, float, str, str]]) -> None:
    """Print rows of (figure, value, unit, what to reach) and write them to build/benchmarks/NAME.json."""
    print_table(
        name,
        ["figure", "value", "unit", "to reach"],
        [[figure, f"{value:.4g}", unit, goal] for figure, value, unit, goal in rows],
    )
    write_json(
        name, [{"figure": figure, "value": value, "unit": unit, "goal": goal} for figure, value, unit, goal in rows]
    )


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; without a terminal as plain text of 120 columns."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    lines = box.HEAVY_HEAD if console.is_terminal else box.ASCII2
    table = Table(*header, title=title, title_justify="left", box=lines)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def write_json(name: str, content: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Write build/benchmarks/NAME.json."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
