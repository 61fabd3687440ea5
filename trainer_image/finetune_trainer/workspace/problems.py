"""Everything that is wrong with the inputs, told at once: the first reason, the count, the first sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune_api.contract import MESSAGE_LIMIT
from finetune_api.reasons import Reason
from finetune_trainer.workspace.failures import RunFailure

_RESERVE = 40
_LONGEST = 600


@dataclass(frozen=True)
class InputProblem:
    """One thing that is wrong, in a sentence that starts with its field path."""

    reason: Reason
    message: str


def as_failure(problems: Sequence[InputProblem]) -> RunFailure:
    """Return one failure for one or more `problems`: reason of the first, as many sentences as fit."""
    messages = list(dict.fromkeys(problem.message[:_LONGEST] for problem in problems))
    if len(messages) == 1:
        return RunFailure(problems[0].reason, problems[0].message[:MESSAGE_LIMIT])
    text = f"{len(messages)} problems."
    for number, message in enumerate(messages, start=1):
        more = f" {number}) {message}"
        if len(text) + len(more) > MESSAGE_LIMIT - _RESERVE:
            return RunFailure(problems[0].reason, f"{text} ... and {len(messages) - number + 1} more")
        text += more
    return RunFailure(problems[0].reason, text)
