"""`finetune status`: all that matters of one job on one screen."""

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from finetune_api.status import EvaluationScore, MetricsStatus, Phase
from finetune_api.telling import duration, usage_text
from finetune_cli.cluster.explanation import Explanation, Move, explain
from finetune_cli.cluster.shapes import bar, columns, sparkline
from finetune_cli.cluster.stored import StoredJob

COLOURS = {Phase.SUCCEEDED: "green", Phase.FAILED: "red", Phase.RESTARTING: "yellow", Phase.SUSPENDED: "yellow"}
_MOVE_COLOURS = {Move.USER: "yellow", Move.CLUSTER: "yellow", Move.PROJECT: "red"}
_PATH = (Phase.PREPARING, Phase.QUEUED, Phase.TRAINING, Phase.PUBLISHING)
_BAR_WIDTH = 30

Row = tuple[str, Text]


def screen(job: StoredJob, now: datetime) -> Text:
    """Return the lines of the screen."""
    why = explain(job, now)
    rows = [*_numbers(job), *_facts(job, now)]
    width = max((len(name) for name, _ in rows), default=0) + 3
    lines = [_head(job), _path(job, now), *_bar(job), *_why(why, job)]
    lines += [Text(f"{name:<{width}}", style="dim") + text for name, text in rows]
    lines += [Text(f"warning: {warning}", style="yellow") for warning in job.status.warnings]
    return Text("\n").join(lines)


def _head(job: StoredJob) -> Text:
    attempt = f"   attempt {job.status.attempt}" if job.status.attempt else ""
    style = f"bold {COLOURS.get(job.phase, 'cyan')}"
    return Text.assemble(("FinetuneJob ", "dim"), (job.title, "bold"), "   ", (job.phase.value, style), attempt)


def _path(job: StoredJob, now: datetime) -> Text:
    """Return the phases on the way, with the time between the first entry into each and into the next."""
    times = {name: datetime.fromisoformat(time) for name, time in job.status.phase_times.items()}
    entered = {phase: times[phase] for phase in Phase if phase in times}  # a newer operator may know more
    ended = job.status.completion_time
    end = datetime.fromisoformat(ended) if ended else now
    parts = []
    for phase in _PATH:
        if phase is Phase.PUBLISHING and not job.part("publish"):
            continue
        begun = entered.get(phase)
        later = [time for time in entered.values() if begun is not None and time > begun]
        is_now = phase is job.phase
        is_end = job.phase is Phase.FAILED and phase is max(
            entered.keys() & _PATH, key=entered.__getitem__, default=None
        )
        sign = "●" if is_now else "○" if begun is None else "✗" if is_end else "✓"
        took = f" {duration((min([*later, end]) - begun).total_seconds())}" if begun is not None else ""
        parts.append(Text(f"{sign} {phase.value}{took}", style="bold" if is_now else "" if begun else "dim"))
    return Text("   ").join(parts)


def _bar(job: StoredJob) -> Iterator[Text]:
    progress = job.status.progress
    if progress is None or not (progress.total_steps or progress.total_rows):
        return
    done, to_do = bar(progress.percent, width=_BAR_WIDTH)
    left = f"{progress.eta} left" if progress.eta and not job.is_finished else ""
    parts = filter(None, [progress.text, progress.dataset, progress.rate, left])
    yield Text.assemble((done, COLOURS.get(job.phase, "cyan")), (to_do, "dim"), *(f"   {part}" for part in parts))


def _why(why: Explanation, job: StoredJob) -> Iterator[Text]:
    """Yield what the job waits for or how it ended, and whose move it is."""
    seconds = f" for {duration(why.seconds)}" if why.seconds is not None else ""
    yield Text(f"{why.reason}{seconds}{f': {why.message}' if why.message else ''}")
    if why.move is not Move.NOBODY or why.next_step or not job.is_finished:
        yield Text(why.whose_move, style=_MOVE_COLOURS.get(why.move, ""))


def _numbers(job: StoredJob) -> Iterator[Row]:
    metrics = job.status.metrics or MetricsStatus()
    losses = [point.loss for point in job.status.curve if point.loss is not None]
    if metrics.train_loss is not None:
        yield "loss", Text("   ".join(filter(None, [f"{metrics.train_loss:.4f}", sparkline(losses)])))
    baseline = metrics.baseline_score
    if metrics.score is None and baseline is None:
        return
    scores = [point.score for point in job.status.curve if point.score is not None]
    line = sparkline(scores, also=[] if baseline is None else [baseline])
    text = Text("   " if metrics.score is None else f"{metrics.score:.4f}   ")
    for character, score in zip(line, scores, strict=True):
        text.append(character, style="green" if baseline is not None and score > baseline else "red")
    notes = [f"before {baseline:.4f}"] if baseline is not None else []
    if metrics.best_score is not None:
        notes.append(f"best {metrics.best_score:.4f} at step {metrics.best_step}")
    yield job.metric, text.append(f"{'   ' if line else ''}{', '.join(notes)}")


def _facts(job: StoredJob, now: datetime) -> Iterator[Row]:
    status = job.status
    if status.checkpoint is not None:
        told = status.checkpoint.time
        ago = f", {duration((now - datetime.fromisoformat(told)).total_seconds())} ago" if told else ""
        yield "checkpoint", Text(f"step {status.checkpoint.step}{ago}")
    if status.usage is not None:
        yield "used", Text(usage_text(status.usage))
    if status.restarts.total:
        spent = f"{status.restarts.user_errors} user errors, {status.restarts.infrastructure} of the infrastructure"
        yield "restarts", Text(f"{status.restarts.total}, charged since the newest checkpoint: {spent}")
    if (lost := status.last_failure) is not None:
        where = f" on {lost.node}" if lost.node else ""
        rank = "" if lost.rank is None else f", rank {lost.rank}"
        yield "lost", Text(f"attempt {lost.attempt} at step {lost.step}: {lost.reason}{rank}{where}")
    for number, line in enumerate(columns([_evaluation(score) for score in status.evaluations])):
        yield "" if number else "scores", Text(line)
    if status.published is not None:
        commit = f" at {status.published.short_commit}" if status.published.commit else ""
        yield "published", Text(f"{status.published.repository}{commit}")
    if status.tracking is not None:
        yield "tracked", Text(status.tracking.url)
    if status.published is None and job.is_finished and status.storage is not None:
        folder = f", folder {status.storage.folder}" if status.storage.folder else ""
        model = "train/model on " if job.phase is Phase.SUCCEEDED else ""
        yield "files", Text(f"{model}volume claim {status.storage.claim}{folder}")


def _evaluation(score: EvaluationScore) -> list[str]:
    before, after = ("" if value is None else f"{value:.4f}" for value in (score.baseline, score.final))
    gain = "" if score.baseline is None or score.final is None else f"{score.final - score.baseline:+.4f}"
    low, high = score.improvement_low, score.improvement_high
    interval = "" if low is None or high is None else f"{score.confidence:.0%}: {low:+.4f} to {high:+.4f}"
    return [score.name, score.metric, f"{before} -> {after}", gain, interval]
