"""What tests wait for in a FinetuneJob, and what they read from the states it went through."""

from collections.abc import Callable

from tests.stack.kubectl import Manifest


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


def steps_trained(states: list[Manifest], *, attempt: int) -> list[int]:
    """Return the steps that rank 0 of an attempt reported while it trained."""
    told = [state["status"] for state in states if state.get("status", {}).get("attempt") == attempt]
    training = [status["progress"] for status in told if status["phase"] == "Training" and "progress" in status]
    return [progress["step"] for progress in training if progress["stage"] == "Training"]
