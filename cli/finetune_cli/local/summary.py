"""What a finished local run says: the tables before and after, and where everything lies."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from finetune_api.contract import RunResult, exit_code_of
from finetune_api.losses import Kind
from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import EvaluationScore
from finetune_cli.local.plan import Plan
from finetune_cli.local.report import write_report
from finetune_trainer.workspace.report import Report

#: Before each of several problems that prepare tells in one message.
_NUMBERED = re.compile(r" (?=\d+\) spec\.)")
_AGAIN = "Run the same command again: it goes on where it stopped."
#: The library's classes for the models of each kind.
_LOADERS: Mapping[Kind, str] = {"Embedding": "SentenceTransformer", "Reranker": "CrossEncoder"}
#: Next steps on a machine where GUIDANCE speaks of a cluster.
_NEXT_STEPS = {
    Reason.INVALID_SPEC: "Correct the named fields.",
    Reason.INVALID_ARGUMENT: "",
    Reason.MODEL_NOT_FOUND: "Check model.source and model.revision; for a private model log in with `hf auth login`.",
    Reason.DATASET_NOT_FOUND: "Check the dataset's source and revision; for a private one log in with `hf auth login`.",
    Reason.TOKEN_REFUSED: "Log in with `hf auth login`, or set HF_TOKEN.",
    Reason.WRITE_FORBIDDEN: "Use a token with write access to publish.repository, or a repository of your own.",
    Reason.OUT_OF_MEMORY: "Lower mini_batch_size, perDeviceTrainBatchSize or image size.",
    Reason.STORAGE_FULL: "Free space, or name a --workspace where there is more.",
    Reason.TRAINER_ERROR: "Read the log.",
    Reason.HUB_UNAVAILABLE: f"Check that this machine reaches the Hub. {_AGAIN}",
    Reason.PUBLISH_CONFLICT: _AGAIN,
    Reason.RANK_KILLED: _AGAIN,
    Reason.PEER_LOST: _AGAIN,
    Reason.PREEMPTED: _AGAIN,
    Reason.INTERNAL_ERROR: "This is a fault of ours: please report it with the log.",
}


def show_failure(result: RunResult, plan: Plan, console: Console) -> None:
    """Say why a run ended before its end, and what to do."""
    reason = result.reason
    style = "bold yellow" if reason is Reason.PREEMPTED else "bold red"
    code = int(exit_code_of(reason))
    message = _NUMBERED.sub("\n  ", result.message)
    console.print(Text(f"{reason} (exit code {code}): {message}", style=style), soft_wrap=True)
    next_step = _NEXT_STEPS.get(reason, GUIDANCE[reason].next_step)
    if next_step:
        _say(console, next_step)
    if reason is not Reason.PREEMPTED:
        _say(console, f"Log: {near(plan.log(result.role, attempt=result.attempt, rank=result.failed_rank or 0))}")


def is_failure(result: RunResult) -> bool:
    """Say whether a role ended in a way after which nothing else is run."""
    return GUIDANCE[result.reason].fault is not Fault.NOBODY


def show_success(results: Sequence[RunResult], plan: Plan, console: Console) -> None:
    """Print the tables that close a run."""
    report = Report.read(plan.workspace.report)
    if report.evaluations:
        _show_table(console, "Scores", _scores_table(report.evaluations))
    for score in report.evaluations:
        if score.dimensions:
            _show_table(console, f"{score.metric} on {score.name} by embedding size", _dimensions_table(score))
    loader = _LOADERS[plan.config.spec.model.kind]
    _say(console, f"Report     {near(write_report(results, plan, report))}")
    _say(console, f"Model      {near(plan.workspace.model)}")
    _say(console, f'Load it    {loader}("{near(plan.workspace.model)}")')
    _say(console, f"Published  {_published(results, plan, report)}")
    warnings = [*plan.notes, *(warning for result in results for warning in result.warnings), *report.warnings]
    for warning in dict.fromkeys(warnings):
        console.print(Text(f"Warning    {warning}", style="yellow"), soft_wrap=True)


def near(path: Path) -> Path:
    """Return a path as seen from the folder at hand, if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _published(results: Sequence[RunResult], plan: Plan, report: Report) -> str:
    last = results[-1]
    if last.published is not None:
        return f"{last.published.repository}, {last.published.url}"
    if plan.publishes:
        return f"no: {last.message}"
    if plan.config.spec.publish is None:
        return "no: the manifest has no publish"
    from finetune_trainer.publish.publish import refusal  # noqa: PLC0415 - the client of the Hub takes a second

    if (refused := refusal(plan.config, plan.workspace, report)) is not None:
        return f"no: --no-publish was given, and without it: {refused.message}"
    return "no: --no-publish was given; the same command without it publishes this model"


def _scores_table(scores: Sequence[EvaluationScore]) -> Table:
    interval = next((f"{one.confidence:.0%} interval" for one in scores if one.confidence), "")
    table = Table("evaluation set", "metric", "before", "after", "gain", box=SIMPLE_HEAD)
    table.columns[0].overflow = "fold"
    if interval:
        table.add_column(interval, no_wrap=True)
    for score in scores:
        last = [_interval(score)] if interval else []
        table.add_row(score.name, score.metric, *_numbers(score.baseline, score.final), *last)
    return table


def _interval(score: EvaluationScore) -> str:
    if score.improvement_low is None or score.improvement_high is None:
        return ""
    return f"{score.improvement_low:+.4f} to {score.improvement_high:+.4f}"


def _dimensions_table(score: EvaluationScore) -> Table:
    table = Table("dimensions", "before", "after", "gain", box=SIMPLE_HEAD)
    for entry in score.dimensions:
        table.add_row(str(entry.dimension), *_numbers(entry.baseline, entry.final))
    return table


def _numbers(before: float | None, after: float | None) -> tuple[str, str, str]:
    gain = "" if before is None or after is None else f"{after - before:+.4f}"
    return _number(before), _number(after), gain


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _show_table(console: Console, title: str, table: Table) -> None:
    console.print(Text(f"\n{title}", style="bold"))
    console.print(table)


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
