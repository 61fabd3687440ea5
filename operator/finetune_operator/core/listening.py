"""What rank 0 answers over time: how long it stands still while it answers, and whether it answers at all.

These are two findings. Only the first means that a gang hangs; silence may as well be a NetworkPolicy, a mesh or the
operator's own node. All times are of the operator's monotonic clock, and they count between two answers, so that
neither a clock that is set nor a process that was paused makes anybody look stuck.
"""

from dataclasses import replace

from finetune_api.contract import Progress
from finetune_operator.core.observed import ProgressReport
from finetune_operator.core.times import parse_time

#: The most that the time between two answers counts, however long nobody asked. Less than the least stall timeout, so
#: that no pause of the operator makes a gang look stuck.
LONGEST_GAP_SECONDS = 20.0
#: Rank 0 is said to be silent after so many questions in a row without an answer, and so many seconds: it listens only
#: once the trainer has loaded its libraries.
SILENT_QUESTIONS = 3
SILENT_SECONDS = 60.0


def answered(report: ProgressReport, progress: Progress, *, at: float) -> ProgressReport:
    """Return the report with an answer that came at `at`."""
    heard = replace(report, progress=progress, answered_at=at, num_unanswered=0, silent_since=None, silence="")
    if report.progress is None or report.answered_at is None:
        return replace(heard, told_still_seconds=_told_still_seconds(progress))
    if _mark(report.progress) != _mark(progress):
        return replace(heard, told_still_seconds=0.0, seen_still_seconds=0.0)
    gap = 0.0 if report.num_unanswered else min(at - report.answered_at, LONGEST_GAP_SECONDS)
    return replace(heard, seen_still_seconds=report.seen_still_seconds + gap)


def unanswered(report: ProgressReport, why: str, *, at: float) -> ProgressReport:
    """Return the report with a question that got no answer, for that reason in words. What was known stays."""
    since = at if report.silent_since is None else report.silent_since
    num = report.num_unanswered + 1
    is_silent = num >= SILENT_QUESTIONS and at - since >= SILENT_SECONDS
    # The first words stay while the silence lasts: they go into the status, which is not written for each poll.
    silence = report.silence or (why if is_silent else "")
    return replace(report, num_unanswered=num, silent_since=since, silence=silence)


def _mark(progress: Progress) -> tuple[object, ...]:
    """Return what changes when training moves on."""
    return (progress.last_step_time, progress.progress.stage, progress.progress.step)


def _told_still_seconds(progress: Progress) -> float:
    """Return how long rank 0 has made no step, by its own clock alone: what an operator before this one has seen."""
    told_at, step_at = parse_time(progress.progress.last_update_time), parse_time(progress.last_step_time)
    return 0.0 if told_at is None or step_at is None else max(0.0, (told_at - step_at).total_seconds())
