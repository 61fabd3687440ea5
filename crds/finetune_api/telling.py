"""Progress as people read it, the same in kubectl, in the demo and in the local command."""

from finetune_api.contract import Stage
from finetune_api.status import TEXT_LENGTH, ProgressStatus, UsageStatus

#: Rates of so much are told without a fraction.
WHOLE_FROM = 100


def in_words(progress: ProgressStatus) -> ProgressStatus:
    """Return the progress with its texts made from its numbers, whatever they were before."""
    seconds = progress.eta_seconds
    stage = "" if progress.total_steps else progress.stage  # with its rows; a number of steps stands for itself
    text = " ".join(filter(None, [stage, steps_text(progress)]))[:TEXT_LENGTH]
    return progress.model_copy(
        update={"text": text, "eta": duration(seconds) if seconds else "", "rate": rate_text(progress)}
    )


def steps_text(progress: ProgressStatus) -> str:
    """Return `180/288 (62 %)`, of the steps or of what prepare counts; nothing while their number is unknown."""
    if progress.total_steps:
        return f"{progress.step}/{progress.total_steps} ({progress.percent} %)"
    return f"{progress.rows}/{progress.total_rows} ({progress.percent} %)" if progress.total_rows else ""


def rate_text(progress: ProgressStatus) -> str:
    """Return `36.5 rows per second`; nothing while that is unknown."""
    rate = progress.rows_per_second
    if rate is None:
        return ""
    what = "embeddings" if progress.stage == Stage.MINING else "rows"
    return f"{rate:.{0 if rate >= WHOLE_FROM else 1}f} {what} per second"


def usage_text(usage: UsageStatus) -> str:
    """Return `2:00:15 h of accelerators: 1:50:00 h useful, ...`; kinds of which there is nothing are left out."""
    kinds = {
        "useful": usage.useful_seconds,
        "evaluating": usage.evaluating_seconds,
        "not saved yet": usage.unsaved_seconds + usage.interrupted_seconds,
        "lost": usage.lost_seconds,
        "waiting": usage.waiting_seconds,
    }
    parts = ", ".join(f"{duration(seconds)} {kind}" for kind, seconds in kinds.items() if seconds)
    return f"{duration(usage.held_seconds)} of {usage.of.lower()}" + (f": {parts}" if parts else "")


def duration(seconds: float) -> str:
    """Return seconds as 42 s, 3:05 min or 2:00:15 h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02} h"
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
