"""What the sides' steps came to, and whether that is what is meant to be. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.training.gpu.flops import training_flops
from benchmarks.training.meter import Step

#: Steps that a process begins with, which are slower: kernels are chosen, room is made, graphs are measured.
WARM_UP = 2
SCRIPT = "script, bfloat16"
THROUGHPUT, LOSS, UTILISATION, OUTSIDE = 2.0, 0.02, 0.45, 0.1


class Side(BaseModel):
    """Steps of one side, in one process or, if it was resumed, in several."""

    model_config = ConfigDict(frozen=True)

    runs: list[list[Step]] = []
    device_peak_bytes: int = 0

    @property
    def steps(self) -> list[Step]:
        """Return those that count."""
        return [step for run in self.runs for step in run[WARM_UP:]]

    @property
    def losses(self) -> list[float]:
        """Return the loss of each step from the first."""
        return [step.loss for run in self.runs for step in run]

    @property
    def step_seconds(self) -> float:
        """Return the mean of a step."""
        return sum(step.seconds for step in self.steps) / len(self.steps)

    @property
    def outside(self) -> float:
        """Return the share of the time that is neither forward nor backward."""
        return 1 - sum(step.busy_seconds for step in self.steps) / sum(step.seconds for step in self.steps)

    @property
    def tokens_per_second(self) -> float:
        """Return what goes through the language model."""
        return sum(step.fed.tokens for step in self.steps) / sum(step.seconds for step in self.steps)

    def utilisation(self, config: Mapping[str, Any], peak: float | None) -> float | None:
        """Return model FLOPs utilisation in forward and backward, of a model of this configuration."""
        if peak is None:
            return None
        operations = sum(training_flops(step.fed, config) for step in self.steps)
        return operations / sum(step.busy_seconds for step in self.steps) / peak


class Known(BaseModel):
    """All that was measured so far."""

    device: str
    sides: dict[str, Side] = {}
    seconds: dict[str, float] = {}
    """Of what is no step."""
    missing: dict[str, str] = {}
    """Why a side has no figures, or not all."""

    def add(self, name: str, steps: list[Step], device_peak_bytes: int) -> None:
        """Take note of what a process measured of a side; of one that only warmed up, that it did."""
        if len(steps) <= WARM_UP:
            self.missing[name] = f"it ended after {len(steps)} steps"
            return
        before = self.sides.get(name, Side())
        peak = max(before.device_peak_bytes, device_peak_bytes)
        self.sides[name] = Side(runs=[*before.runs, steps], device_peak_bytes=peak)


def loss_apart(one: Side, other: Side) -> float:
    """Return how far the losses of the steps that both made are apart at most, as a share."""
    return max(abs(ours / theirs - 1) for ours, theirs in zip(one.losses, other.losses, strict=False))


def goals(
    trainer: Side, script: Side, like_script: Side, *, utilisation: float | None
) -> Iterator[tuple[str, str, bool | None]]:
    """Yield what is to be reached, what was, and whether that is enough; None where it cannot be said.

    Args:
        trainer: in the way that jobs have by default.
        script: as it is published.
        like_script: the trainer in the script's precision.
        utilisation: of the trainer.

    """
    faster = trainer.tokens_per_second / script.tokens_per_second
    yield "2 times the script's tokens per second", f"{faster:.2f} times", faster >= THROUGHPUT
    apart = loss_apart(like_script, script)
    yield "at equal loss in the same precision", f"{apart:.2%} apart at most", apart <= LOSS
    known = None if utilisation is None else utilisation >= UTILISATION
    yield "45 % of the device's FLOPs in forward and backward", share(utilisation), known
    yield "under 10 % outside forward and backward", share(trainer.outside), trainer.outside < OUTSIDE


def share(value: float | None) -> str:
    """Return a share as people read it."""
    return "not known" if value is None else f"{value:.1%}"
