"""Shows a running FinetuneJob: a live panel on a terminal, one line per change elsewhere."""

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tests.stack.jobs import condition, is_finished
from tests.stack.kubectl import Manifest

PHASE_COLOURS = {"Succeeded": "green", "Failed": "red", "Restarting": "yellow", "Suspended": "yellow"}


def follow(states: Iterable[Manifest], console: Console) -> Manifest:
    """Show the job until it is finished and return its last state."""
    return _follow_live(states, console) if console.is_terminal else _follow_lines(states, console)


def _follow_live(states: Iterable[Manifest], console: Console) -> Manifest:
    job: Manifest = {}
    started = time.monotonic()
    spinner = Spinner("dots")

    def panel() -> Group:
        return _panel(job, spinner=spinner, elapsed_seconds=time.monotonic() - started)

    with Live(console=console, refresh_per_second=4, get_renderable=panel):
        for job in states:
            if is_finished(job):
                break
    return job


def _follow_lines(states: Iterable[Manifest], console: Console) -> Manifest:
    job: Manifest = {}
    shown = ""
    for job in states:
        line = describe(job)
        if line != shown:
            console.print(line, soft_wrap=True)
            shown = line
        if is_finished(job):
            break
    return job


def describe(job: Manifest) -> str:
    """Return the state in one plain line."""
    status = job.get("status", {})
    progress = status.get("progress") or {}
    metrics = status.get("metrics") or {}
    parts = [f"{status.get('phase', 'Pending'):<11}"]
    if progress.get("stage"):
        parts.append(f"{progress['stage']:<10}")
    if progress.get("totalSteps"):
        parts.append(progress["text"])
    parts += [f"{label} {metrics[key]:.4f}" for label, key in _NUMBERS if metrics.get(key) is not None]
    if status.get("phase") in {"Queued", "Restarting", "Failed"}:
        parts.append(_why(job))
    return "  ".join(parts)


_NUMBERS = (("loss", "trainLoss"), ("ndcg@10", "score"), ("best", "bestScore"), ("before", "baselineScore"))


def _why(job: Manifest) -> str:
    aspects = {"Queued": "Scheduled", "Restarting": "Training", "Failed": "Succeeded"}
    found = condition(job, aspects[job["status"]["phase"]])
    return f"{found.get('reason', '')}: {found.get('message', '')}"


def _panel(job: Manifest, *, spinner: Spinner, elapsed_seconds: float) -> Group:
    status: dict[str, Any] = job.get("status", {})
    progress = status.get("progress") or {}
    phase = status.get("phase", "Pending")
    grid = Table.grid(padding=(0, 2))
    stage = Text(progress.get("stage", ""), style="dim")
    steps = progress["text"] if progress.get("totalSteps") else ""
    bar = ProgressBar(total=100, completed=progress.get("percent", 0), width=30)
    sign = Text(" ") if is_finished(job) else spinner
    name = Text(phase, style=f"bold {PHASE_COLOURS.get(phase, 'cyan')}")
    grid.add_row(sign, name, _clock(elapsed_seconds), bar, steps, stage, _eta(progress))
    metrics = status.get("metrics") or {}
    numbers = Table.grid(padding=(0, 2))
    numbers.add_row(
        *[f"{label} [bold]{metrics[key]:.4f}[/]" for label, key in _NUMBERS if metrics.get(key) is not None]
    )
    why = Text(_why(job), style="dim") if phase in {"Queued", "Restarting", "Failed"} else Text()
    return Group(grid, numbers, why)


def _eta(progress: dict[str, Any]) -> str:
    return f"{progress['eta']} left" if progress.get("eta") else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
