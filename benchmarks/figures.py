"""How a benchmark ends: a table for people, JSON for machines."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[1] / "build" / "benchmarks"


def report(name: str, rows: list[tuple[str, float, str, str]]) -> None:
    """Print rows of (figure, value, unit, what to reach) and write them to build/benchmarks/NAME.json."""
    table = Table("figure", "value", "unit", "to reach", title=name, title_justify="left")
    for figure, value, unit, goal in rows:
        table.add_row(figure, f"{value:.4g}", unit, goal)
    Console(highlight=False).print(table)
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = [{"figure": figure, "value": value, "unit": unit, "goal": goal} for figure, value, unit, goal in rows]
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
