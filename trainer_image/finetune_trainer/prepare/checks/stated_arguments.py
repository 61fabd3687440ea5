"""Whether spec.training.arguments names what a job may state, in the right types. Imports nothing heavy."""

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_api.problem import Problem
from finetune_trainer.recipe.arguments.near import did_you_mean
from finetune_trainer.recipe.arguments.rules import BY_EVALUATION, MEANT, OURS, REFUSED, RENAMED
from finetune_trainer.recipe.arguments.signatures import Signature

PATH = "spec.training.arguments"


def check_stated(given: Mapping[str, Any], known: Signature) -> Iterator[Problem]:
    """Yield every argument that is not `known` or not the job's to state, and every value of a wrong type."""
    for name in given:
        yield from _check_name(name, given, known)
    for name in given:
        if name in known and (refused := known[name].refusal(given[name])) is not None:
            yield Problem(f"{PATH}.{name}", given[name], *refused)
    if given.get("lr_scheduler_type") in BY_EVALUATION:
        because = "it follows evaluations of the Trainer, and those of the job are its own"
        yield Problem(f"{PATH}.lr_scheduler_type", given["lr_scheduler_type"], because, "choose another schedule")


def _check_name(name: str, given: Mapping[str, Any], known: Signature) -> Iterator[Problem]:
    path, value = f"{PATH}.{name}", given[name]
    if name in OURS:
        yield Problem(path, value, f"it is decided by {OURS[name]}", "leave it out here")
    elif name in REFUSED:
        yield Problem(path, value, REFUSED[name], "leave it out")
    elif name not in known:
        fix = MEANT.get(name) or did_you_mean(name, known)
        yield Problem(path, value, "the library has no such training argument", fix)
    elif RENAMED.get(name) in given:
        yield Problem(path, value, f"it is the old name of {RENAMED[name]}, which is given too", "leave it out")
