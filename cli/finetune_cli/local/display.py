"""Shows a local run: a live panel on a terminal, one line per change elsewhere."""

from collections.abc import Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from finetune_api.contract import Progress, Role, RunResult, Stage
from finetune_api.telling import duration, rate_text, steps_text
from finetune_cli.local.following import Sight

_NAMES = {
    Role.PREFLIGHT: "Checking access",
    Role.PREPARE: "Preparing",
    Role.TRAIN: "Training",
    Role.PUBLISH: "Publishing",
}
_WIDTH = 17
_BAR_WIDTH = 30
#: A line of its own is written off a terminal when so many percent were made.
_LINE_EVERY_PERCENT = 10
#: And of a role that makes no steps, whenever so many seconds have gone by.
_LINE_EVERY_SECONDS = 30


class Display:
    """Writes to one console; `metric` names the number that decides."""

    def __init__(self, console: Console, *, metric: str) -> None:
        self._console = console
        self._metric = metric

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._console.print(Text(text), soft_wrap=True)

    def show(self, role: Role, sights: Iterable[Sight]) -> None:
        """Show a role until it has ended."""
        if self._console.is_terminal:
            self._show_live(sights)
        else:
            self._show_lines(role, sights)

    def ended(self, result: RunResult, seconds: float) -> None:
        """Write how a role ended."""
        self.say(f"{_NAMES[result.role]:<{_WIDTH}}{result.message}  ({duration(seconds)})")

    def _show_live(self, sights: Iterable[Sight]) -> None:
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            for sight in sights:
                live.update(self._panel(sight))

    def _show_lines(self, role: Role, sights: Iterable[Sight]) -> None:
        self.say(f"{_NAMES[role]:<{_WIDTH}}started")
        shown: tuple[object, ...] = (0.0,)
        for sight in sights:
            seen = _mark(sight)
            if seen != shown and sight.progress is not None:
                self.say(self._line(sight.progress))
            elif seen != shown and sight.event:
                self.say(f"{_NAMES[role]:<{_WIDTH}}{sight.event}")
            shown = seen

    def _line(self, progress: Progress) -> str:
        told = progress.progress
        parts = [steps_text(told), *self._numbers(progress), _eta(progress)]
        return f"{_stage(progress) or _NAMES[Role.TRAIN]:<{_WIDTH}}" + "  ".join(filter(None, parts))

    def _panel(self, sight: Sight) -> Group:
        grid = Table.grid(padding=(0, 2))
        name = Text(_NAMES[sight.role], style="bold cyan")
        if sight.progress is None:
            grid.add_row(
                name, duration(sight.seconds), Text(sight.event, style="dim", no_wrap=True, overflow="ellipsis")
            )
            return Group(grid)
        told = sight.progress.progress
        bar = ProgressBar(total=100, completed=told.percent, width=_BAR_WIDTH)
        grid.add_row(
            name, Text(told.stage, style="dim"), bar, steps_text(told), _eta(sight.progress) or duration(sight.seconds)
        )
        return Group(grid, Text("  ".join(self._numbers(sight.progress))))

    def _numbers(self, progress: Progress) -> list[str]:
        told, metrics = progress.progress, progress.metrics
        rate = "" if metrics.learning_rate is None else f"learning rate {metrics.learning_rate:.2e}"
        loss = "" if metrics.train_loss is None else f"loss {metrics.train_loss:.4f}"
        scores = [(self._metric, metrics.score), ("best", metrics.best_score), ("before", metrics.baseline_score)]
        rows = [told.dataset, rate_text(told)]
        return [
            *filter(None, [*rows, loss, rate]),
            *[f"{name} {value:.4f}" for name, value in scores if value is not None],
        ]


def _mark(sight: Sight) -> tuple[object, ...]:
    """Return what makes two sights differ enough for a line of its own."""
    if sight.progress is None or sight.role is Role.PREPARE:
        return (sight.seconds // _LINE_EVERY_SECONDS,)
    metrics = sight.progress.metrics
    percent = sight.progress.progress.percent // _LINE_EVERY_PERCENT
    return (_stage(sight.progress), percent, metrics.baseline_score, metrics.score)


def _stage(progress: Progress) -> str:
    """Return what is done before the first step and after the last; between them it alternates too fast for lines."""
    told = progress.progress
    return told.stage if told.step in (0, told.total_steps) and told.stage != Stage.SAVING else ""


def _eta(progress: Progress) -> str:
    seconds = progress.progress.eta_seconds
    return f"{duration(seconds)} left" if seconds else ""
