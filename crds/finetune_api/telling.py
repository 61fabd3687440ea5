"""Progress as people read it, the same in kubectl, in the demo and in the local command."""

from finetune_api.status import ProgressStatus


def in_words(progress: ProgressStatus) -> ProgressStatus:
    """Return the progress with its texts made from its numbers, whatever they were before."""
    seconds = progress.eta_seconds
    eta = duration(seconds) if seconds else ""
    return progress.model_copy(update={"text": steps_text(progress) or progress.stage, "eta": eta})


def steps_text(progress: ProgressStatus) -> str:
    """Return `180/288 (62 %)`; nothing while the number of steps is unknown."""
    return f"{progress.step}/{progress.total_steps} ({progress.percent} %)" if progress.total_steps else ""


def duration(seconds: float) -> str:
    """Return seconds as 42 s, 3:05 min or 2:00:15 h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02} h"
    return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
