"""`finetune watch`: a job until it has ended, as one screen on a terminal, as a line per change elsewhere."""

from collections.abc import Callable, Iterable
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.text import Text

from finetune_api.status import MetricsStatus, Phase
from finetune_cli.cluster.explanation import explain
from finetune_cli.cluster.screen import screen
from finetune_cli.cluster.stored import StoredJob

#: Phases whose line says why, too.
_TOLD = (Phase.QUEUED, Phase.RESTARTING, Phase.SUSPENDED, Phase.FAILED, Phase.SUCCEEDED)


def follow(jobs: Iterable[StoredJob], console: Console, now: Callable[[], datetime]) -> StoredJob:
    """Show the states of a job until it has ended, and return the last one."""
    return _follow_live(jobs, console, now) if console.is_terminal else _follow_lines(jobs, console, now)


def _follow_live(jobs: Iterable[StoredJob], console: Console, now: Callable[[], datetime]) -> StoredJob:
    states = iter(jobs)
    job = next(states)

    def panel() -> Text:
        return screen(job, now())

    with Live(console=console, refresh_per_second=4, get_renderable=panel):
        while not job.is_finished:
            job = next(states)
    return job


def _follow_lines(jobs: Iterable[StoredJob], console: Console, now: Callable[[], datetime]) -> StoredJob:
    states, shown = iter(jobs), ""
    while True:
        job = next(states)
        if (told := line(job, now())) != shown:
            console.print(Text(told), soft_wrap=True)
            shown = told
        if job.is_finished:
            return job


def line(job: StoredJob, now: datetime) -> str:
    """Return the state in one line. It is the same as long as nothing has changed."""
    progress, metrics = job.status.progress, job.status.metrics or MetricsStatus()
    parts = [f"{job.phase.value:<11}"]
    if progress is not None and progress.total_steps:
        parts.append(f"{progress.stage:<10}")
    if progress is not None and progress.text:
        parts.append(progress.text)
    numbers = (
        ("loss", metrics.train_loss),
        (job.metric, metrics.score),
        ("best", metrics.best_score),
        ("before", metrics.baseline_score),
    )
    parts += [f"{name} {value:.4f}" for name, value in numbers if value is not None]
    if job.phase in _TOLD:
        why = explain(job, now)
        parts.append(f"{why.reason}: {why.message}" if why.message else why.reason)
    return "  ".join(parts)
