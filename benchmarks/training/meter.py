"""What each step of a training took and went through, on either side: a stopwatch's figures and what was fed in."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from pydantic import BaseModel, ConfigDict
from transformers import Trainer

from benchmarks.training.stopwatch import STEP, Stopwatch


class Fed(BaseModel):
    """What went through the model, padding left out."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    """Of the language model, those of images too."""
    token_pairs: int
    """Pairs of tokens of one row, which attention looks at."""
    patches: int
    """Of the vision tower."""
    patch_pairs: int
    """Pairs of patches of one image."""

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> "Fed":
        """Return what a batch holds, as the library's collator lays it out."""
        lengths = [one.sum(dim=1) for name, one in inputs.items() if name.endswith("attention_mask")]
        grids = [one.prod(dim=1) for name, one in inputs.items() if name.endswith("grid_thw")]
        return cls(
            tokens=sum(int(one.sum()) for one in lengths),
            token_pairs=sum(int((one**2).sum()) for one in lengths),
            patches=sum(int(one.sum()) for one in grids),
            patch_pairs=sum(int((one**2).sum()) for one in grids),
        )


class Step(BaseModel):
    """One optimizer step."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    """From the end of the step before; of the first one from the start of the process."""
    busy_seconds: float
    """Of it, forward and backward."""
    loss: float
    fed: Fed


class EnoughError(Exception):
    """There are enough steps to measure."""


def leave() -> None:
    """End a training where it is; raises EnoughError."""
    raise EnoughError


class Meter:
    """Watches the Trainer's steps until there are enough."""

    def __init__(
        self,
        watch: Stopwatch,
        *,
        num_steps: float = math.inf,
        seconds: float = math.inf,
        end: Callable[[], None] = leave,
    ) -> None:
        """Watch from now on.

        Args:
            watch: that times forward and backward.
            num_steps: after which it is enough.
            seconds: from the end of the first step, after which it is enough, too.
            end: is called then.

        """
        self.steps: list[Step] = []
        self.num_steps = num_steps
        since = psutil.Process().create_time()
        original = Trainer.training_step

        def metered(*arguments: Any, **settings: Any) -> torch.Tensor:  # noqa: ANN401 - the library's
            nonlocal since
            fed, busy = Fed.of(arguments[2]), watch.seconds[STEP]  # of a dictionary that the loss takes apart
            loss: torch.Tensor = original(*arguments, **settings)
            before, since = since, time.time()
            busy = watch.seconds[STEP] - busy
            self.steps.append(Step(seconds=since - before, busy_seconds=busy, loss=float(loss), fed=fed))
            if len(self.steps) >= self.num_steps or sum(step.seconds for step in self.steps[1:]) > seconds:
                end()
            return loss

        Trainer.training_step = metered
