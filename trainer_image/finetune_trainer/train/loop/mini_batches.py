"""Mini-batches of the gradient-cached losses, halved by all ranks together when memory runs out on one of them."""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch.nn import Module

from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.memory import is_out_of_memory
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.loop.kept_graphs import KeptGraphs
from finetune_trainer.workspace.failures import RunFailure

logger = logging.getLogger(__name__)
#: Arguments of a gradient-cached loss.
SIZES = ("mini_batch_size", "mini_batch_num_tokens")


class PeerOutOfMemoryError(Exception):
    """Another rank ran out of memory while it embedded its rows, so that this one must not wait for its embeddings."""


class MiniBatches:
    """Runs the steps of one gradient-cached loss in mini-batches that fit.

    A rank that runs out of memory says so where the others ask next: before they gather embeddings, or after their
    backward pass. Between the two the ranks wait for each other, so that running out there ends the training.
    """

    def __init__(
        self,
        loss: Any,  # noqa: ANN401 - see cached_loss
        *,
        ranks: Ranks,
        warn: Callable[[str], None],
        keeps_graphs: bool = True,
    ) -> None:
        self._loss = loss
        self._ranks = ranks
        self._warn = warn
        self._waits = False
        self._untold = False
        self.graphs = KeptGraphs(loss, room=None if keeps_graphs else lambda _: 0)
        if ranks.world_size > 1:
            self._calculate_loss = self._loss.calculate_loss
            self._loss.calculate_loss = self._calculate_if_all_can

    @property
    def sizes(self) -> dict[str, int | None]:
        """Return how much is embedded at once. A resumed training needs it: dropout and rounding depend on it."""
        return {name: getattr(self._loss, name) for name in SIZES if hasattr(self._loss, name)}

    def take_on(self, sizes: Mapping[str, int | None]) -> None:
        """Embed as much at once as an earlier attempt did, which may have run out of memory with more."""
        for name, size in sizes.items():
            setattr(self._loss, name, size)

    def _calculate_if_all_can(self, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - the library's
        if self._any(here=False):
            raise PeerOutOfMemoryError
        self._waits = True
        loss = self._calculate_loss(*arguments, **settings)
        self._waits = False
        return loss

    def _any(self, *, here: bool) -> bool:
        (number,) = self._ranks.sum(here)
        return number > 0

    def run(self, step: Callable[[], torch.Tensor]) -> torch.Tensor | None:
        """Return what `step`, a forward and backward pass, returns; None on every rank if it did not fit on one.

        Then less is done at once from now on, and gradients are left half-made.

        Raises:
            RunFailure: OutOfMemory, with one row at a time.

        """
        result = self._attempt(step)
        if result is None:
            clear_device_cache(garbage_collection=True)
            self._take_less()
        elif self._untold:
            self._untold = False
            self._warn(f"memory ran out; {self._describe()} fits: put it into training.loss.arguments")
        return result

    def _describe(self) -> str:
        budget = getattr(self._loss, "mini_batch_num_tokens", None)
        tokens = "" if budget is None else f" with mini_batch_num_tokens {budget}"
        return f"mini_batch_size {self._loss.mini_batch_size}{tokens}"

    def _attempt(self, step: Callable[[], torch.Tensor]) -> torch.Tensor | None:
        result = None
        try:
            with self.graphs.step():
                result = step()
        except PeerOutOfMemoryError:
            return None
        except Exception as error:
            if self._waits or not is_out_of_memory(error):
                raise
            logger.warning("out of memory", extra={"tried": self._describe()})
        if result is None:  # here, where the error no longer holds on to tensors: others may need memory of this rank
            clear_device_cache(garbage_collection=True)
        return None if self._any(here=result is None) else result

    def _take_less(self) -> None:
        """Keep fewer graphs; if no rank kept any, halve the mini-batches."""
        were_kept = self._any(here=self.graphs.limit > 0)
        self.graphs.keep_fewer()
        if not were_kept:
            self._halve()

    def _halve(self) -> None:
        if self._loss.mini_batch_size == 1:
            raise RunFailure(
                Reason.OUT_OF_MEMORY,
                "memory ran out with one row at a time; lower the image size, model.maxSeqLength or "
                "perDeviceTrainBatchSize, train with model.lora, or ask for more memory",
            )
        self._loss.mini_batch_size //= 2
        budget = getattr(self._loss, "mini_batch_num_tokens", None)
        if budget is not None:  # one row at a time is said by the number of rows
            self._loss.mini_batch_num_tokens = budget // 2 if self._loss.mini_batch_size > 1 else None
        self._untold = True


def cached_loss(loss: Module) -> Module | None:
    """Return the gradient-cached loss that `loss` is or wraps, None if there is none."""
    cached = (one for one in loss.modules() if getattr(one, "uses_gradient_cache", False))
    return next((one for one in cached if hasattr(one, "mini_batch_size")), None)


@dataclass(frozen=True)
class RandomState:
    """What chance does next: dropout, and which negatives or dimensions a loss draws."""

    drawn: Any
    cpu: torch.Tensor
    accelerator: torch.Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> "RandomState":
        """Return the state of this process."""
        accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(random.getstate(), torch.get_rng_state(), accelerator)

    def restore(self, device: torch.device) -> None:
        """Let chance go on as it did from here."""
        random.setstate(self.drawn)
        torch.set_rng_state(self.cpu)
        if self.accelerator is not None:
            torch.cuda.set_rng_state(self.accelerator, device)
