"""A spec that was changed: what is trained never is, how it is run may be, and takes effect with the next child.

A child that runs is left to run. One that only waits is made anew: what it waits for may be what was changed.
"""

from finetune_api.problem import Problem
from finetune_api.problems import check_changeable
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.failures import Failure
from finetune_operator.core.observed import JobView

NOW = "suspend the job and resume it to have it at once"


def is_outdated(child: JobView, job: FinetuneJob) -> bool:
    """Tell whether the child was made by another version of the spec, as far as that is known."""
    return child.config not in ("", names.run_config(job))


def describe_change(child: JobView, job: FinetuneJob) -> str:
    """Return what becomes of a change that came while the child ran, as the end of a sentence; empty if none did."""
    if not is_outdated(child, job):
        return ""
    if (unusable := find_unusable(job)) is not None:
        return f"; the changed spec cannot be used: {unusable.message}"
    return f"; the changed spec takes effect with the next attempt: {NOW}"


def find_unusable(job: FinetuneJob) -> Failure | None:
    """Return why nothing can be made of a spec that was good when the job began, or None."""
    problems = check_changeable(job.spec)
    return invalid_spec(problems) if problems else None


def invalid_spec(problems: list[Problem]) -> Failure:
    """Return the failure of a spec with these problems."""
    text = ". ".join(str(problem) for problem in problems)
    return Failure(reason=Reason.INVALID_SPEC, message=f"{text}. {GUIDANCE[Reason.INVALID_SPEC].next_step}")
