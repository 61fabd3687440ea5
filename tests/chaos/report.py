"""What a person sees of it: how it goes, and at the end a table of the harm, one of the jobs, and what did not hold."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from tests.chaos.evidence import Evidence
from tests.chaos.harm import Harm
from tests.chaos.invariants import Violation
from tests.stack import jobs
from tests.stack.kubectl import Manifest

#: Between two lines of how it goes, where there is no terminal.
LINE_SECONDS = 60.0


class Screen:
    """Lines one below the other; on a terminal how it goes stays the last of them, elsewhere it comes each minute."""

    def __init__(self, output: TextIO = sys.stdout, *, log: Path | None = None) -> None:
        self._output, self._is_terminal = output, output.isatty()
        self._log = log
        self._shown_at = float("-inf")

    def say(self, text: str) -> None:
        """Print a line that stays, with the time."""
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(f"\033[K{line}" if self._is_terminal else line, file=self._output, flush=True)
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(f"{line}\n")

    def show(self, text: str) -> None:
        """Show how it goes."""
        if self._is_terminal:
            print(f"\033[K{text[:118]}", end="\r", file=self._output, flush=True)
        elif time.monotonic() - self._shown_at >= LINE_SECONDS:
            self._shown_at = time.monotonic()
            self.say(text)

    def end(self, text: str) -> None:
        """Print the end of it all."""
        print(f"\033[K{text}" if self._is_terminal else text, file=self._output, flush=True)


def how_it_goes(states: Iterable[Manifest], *, num_jobs: int, seconds_left: float) -> str:
    """Return in one line how many jobs are in which phase."""
    phases = Counter(str(state.get("status", {}).get("phase", "Pending")) for state in states)
    waiting = num_jobs - phases.total()
    told = [f"{number} {phase}" for phase, number in sorted(phases.items())] + (
        [f"{waiting} to come"] if waiting else []
    )
    return f"{max(0, seconds_left) // 60:.0f} min of harm left: {', '.join(told)}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in plain text, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    is_number = [all(cell.isdigit() for cell in column) for column in zip(*cells, strict=True)] or [False] * len(head)
    lines = [[*head], ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(_aligned(*cell) for cell in zip(line, widths, is_number, strict=True)) for line in lines)


def _aligned(text: str, width: int, is_number: bool) -> str:
    return text.rjust(width) if is_number else text.ljust(width)


def of_harm(harm: Harm) -> str:
    """Return how often what was done."""
    rows = [(name, harm.struck[name], harm.missed[name]) for name in harm.blows]
    return table(("harm", "done", "missed"), [*rows, ("all", harm.struck.total(), harm.missed.total())])


def of_jobs(found: Iterable[Evidence], violations: Sequence[Violation]) -> str:
    """Return how each job ended, and what it went through."""
    broken: Mapping[str, Counter[str]] = {one.name: Counter() for one in found}
    for violation in violations:
        broken[violation.job][violation.invariant] += 1
    rows = [(*_row(one), "".join(sorted(broken[one.name])) or "held") for one in found]
    return table(("job", "end", "reason", "attempts", "charged", "given back", "step", "states", "invariants"), rows)


def _row(evidence: Evidence) -> tuple[object, ...]:
    status = evidence.job.get("status", {})
    return (
        evidence.name,
        status.get("phase"),
        jobs.condition(evidence.job, "Succeeded").get("reason"),
        status.get("attempt", 0),
        status.get("restarts", {}).get("total", 0),
        sum(reason == "GangReturned" for reason in evidence.events),
        (status.get("progress") or {}).get("step", 0),
        len(evidence.states),
    )


def of_violations(violations: Iterable[Violation], *, folder: Path) -> str:
    """Return each thing that did not hold: of which job, what was expected, what was seen and where to look."""
    return "\n".join(
        f"{one.invariant} {one.job}: expected {one.expected}\n    saw {one.seen}\n"
        f"    look at {folder / one.job}.jsonl (its states), {folder}/harm.log and {folder}/operator.log"
        for one in violations
    )
