"""How many steps, and what happens after which. Pure."""

import math
from dataclasses import dataclass

from finetune_api.types import FinetuneJobSpec

#: Points of the loss curve over a whole training.
CURVE_POINTS = 200


@dataclass(frozen=True)
class Schedule:
    """Steps are optimizer steps over all training sets, counted from 1."""

    batch_size: int
    """Rows per rank in a batch of the largest training set."""
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    evaluate_every: int
    save_every: int | None
    """None where the clock alone decides."""
    log_every: int

    def evaluates_after(self, step: int) -> bool:
        """Return whether an evaluation follows this step; one always follows the last."""
        return step % self.evaluate_every == 0 or step == self.total_steps

    def saves_after(self, step: int) -> bool:
        """Return whether a checkpoint follows this step, whatever the clock says; one always follows the last."""
        return step == self.total_steps or (self.save_every is not None and step % self.save_every == 0)

    def logs_after(self, step: int) -> bool:
        """Return whether this step is a point of the loss curve."""
        return step % self.log_every == 0 or step in (1, self.total_steps)


def plan(spec: FinetuneJobSpec, *, batch_size: int, batches_per_epoch: int) -> Schedule:
    """Return the schedule for so many batches that all ranks together make of all training sets.

    As the Trainer counts: `gradient_accumulation_steps` batches make a step, the last step of an epoch may be of fewer.
    """
    training = spec.training
    steps_per_epoch = math.ceil(batches_per_epoch / int(training.arguments.get("gradient_accumulation_steps", 1)))
    total_steps = training.max_steps or max(1, math.ceil(training.num_train_epochs * steps_per_epoch))
    return Schedule(
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        warmup_steps=math.ceil(training.warmup_ratio * total_steps),
        evaluate_every=steps_between(spec.evaluation.every, total_steps=total_steps),
        save_every=spec.checkpoint.every_steps,
        log_every=max(1, total_steps // CURVE_POINTS),
    )


def steps_between(every: int | str, *, total_steps: int) -> int:
    """Return `every` (steps, or a share like `10%`) in steps, at least 1."""
    if isinstance(every, int):
        return every
    return max(1, math.ceil(total_steps * int(every.removesuffix("%")) / 100))
