"""What tests wait for in a FinetuneJob, and what they read from the states it went through."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from tests.stack.kubectl import Manifest

#: Of what gangs hold.
KINDS = ("useful", "evaluating", "lost", "waiting")


def has_checkpoint(job: Manifest) -> bool:
    """Tell whether the job trains and has a checkpoint."""
    status = job.get("status", {})
    return bool(status.get("phase") == "Training" and (status.get("checkpoint") or {}).get("step", 0) > 0)


def goes_on_after(step: int) -> Callable[[Manifest], bool]:
    """Return whether a job trains beyond a step, to be waited for."""
    return lambda job: has_checkpoint(job) and job["status"]["progress"]["step"] > step


def in_phase(phase: str) -> Callable[[Manifest], bool]:
    """Return whether a job is in the phase, to be waited for."""
    return lambda job: job.get("status", {}).get("phase") == phase


def trains(*, attempt: int) -> Callable[[Manifest], bool]:
    """Return whether rank 0 of an attempt has told of a step, to be waited for."""
    return lambda job: bool(steps_trained([job], attempt=attempt))


def seconds_held(states: list[Manifest]) -> dict[str, int]:
    """Return what came of the time that gangs held at the end, by kind."""
    assert list(miscounted(states)) == []
    usage = states[-1]["status"]["usage"]
    return {kind: int(usage[f"{kind}Seconds"]) for kind in KINDS}


def miscounted(states: Sequence[Manifest]) -> Iterator[str]:
    """Yield what of the time that gangs held became less, and that its kinds do not add up once a job has succeeded."""
    told = [usage for state in states if (usage := state.get("status", {}).get("usage"))]
    for before, after in pairwise(told):
        fallen = [kind for kind in ("held", *KINDS) if after[f"{kind}Seconds"] < before[f"{kind}Seconds"]]
        yield from (f"{kind}: {before[f'{kind}Seconds']}, then {after[f'{kind}Seconds']}" for kind in fallen)
    has_succeeded = states[-1].get("status", {}).get("phase") == "Succeeded"
    if (
        told
        and has_succeeded
        and told[-1]["heldSeconds"] != (total := sum(told[-1][f"{kind}Seconds"] for kind in KINDS))
    ):
        yield f"{told[-1]['heldSeconds']} held, {total} by kind"


def steps_trained(states: list[Manifest], *, attempt: int) -> list[int]:
    """Return the steps that rank 0 of an attempt reported while it trained."""
    told = [state["status"] for state in states if state.get("status", {}).get("attempt") == attempt]
    training = [status["progress"] for status in told if status["phase"] == "Training" and "progress" in status]
    return [progress["step"] for progress in training if progress["stage"] == "Training"]
