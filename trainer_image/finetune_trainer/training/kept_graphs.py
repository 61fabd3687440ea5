# ruff: noqa: ANN401 - inputs and outputs of a model are the library's
"""Forward passes that a gradient-cached loss need not repeat, because what they computed fits in memory.

Such a loss embeds a batch in mini-batches without gradients, derives the gradient of each embedding, and then embeds
every mini-batch again, with gradients, to pass it on. Where memory has room for the graphs of some mini-batches, these
are embedded with gradients at once and their graphs kept: a fourth of the computing is saved on each, the gradient is
the same.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch.nn import Module

from finetune_trainer.distributed.memory import room_bytes

logger = logging.getLogger(__name__)
#: Part of the free memory that graphs may take. Batches differ; on a CPU there is no error to recover from.
SHARE = {"cuda": 0.7, "cpu": 0.4}
#: What losses take of a model's output; the rest of it need not be kept.
TAKEN = ("sentence_embedding", "scores")


class KeptGraphs:
    """Decides by a first step, in which nothing is kept, how many mini-batches are, and keeps them in later ones."""

    def __init__(self, loss: Any, *, room: Callable[[torch.device], int] = room_bytes) -> None:
        """Look after one loss.

        Args:
            loss: gradient-cached; its `model` is what is called.
            room: tells how many bytes more a device can hold.

        """
        self._loss = loss
        self._room = room
        self.largest_bytes = 0
        """Of the graph of one mini-batch, in the steps so far."""
        self._limit: int | None = None
        self._outputs: dict[int, dict[str, torch.Tensor]] = {}

    @property
    def limit(self) -> int:
        """Return how many mini-batches are kept in a step; 0 as long as that is not known."""
        return self._limit or 0

    def give_up(self) -> None:
        """Keep none from now on: memory ran out."""
        self._limit = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Take over the loss's model for one forward and backward pass."""
        if self._limit is None and self.largest_bytes:
            self._limit = self._count()
            logger.info("graphs kept", extra={"mini_batches": self._limit, "mini_batch_bytes": self.largest_bytes})
        model, first, second = self._loss.model, count(), count()
        forward, is_own = model.forward, "forward" in vars(model)

        def take_over(*inputs: Any, **settings: Any) -> Any:
            if torch.is_grad_enabled():
                output = self._outputs.pop(next(second), None)
                return self._measured(forward, *inputs, **settings) if output is None else output
            number = next(first)
            if number >= self.limit:
                return forward(*inputs, **settings)
            with torch.enable_grad():
                output = forward(*inputs, **settings)
            self._outputs[number] = {name: output[name] for name in TAKEN if name in output}
            return output

        model.forward = take_over
        try:
            yield
        finally:
            self._outputs.clear()
            if is_own:
                model.forward = forward
            else:
                del model.forward

    def _measured(self, forward: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
        """Call `forward`, and note how many bytes its graph holds as long as that is needed."""
        if self._limit is not None:
            return forward(*inputs, **settings)
        with saved_bytes(self._loss.model) as sizes:
            output = forward(*inputs, **settings)
        self.largest_bytes = max(self.largest_bytes, sum(sizes.values()))
        return output

    def _count(self) -> int:
        """Return how many graphs fit beside the gradients and one mini-batch that is not kept."""
        model = self._loss.model
        device = next(model.parameters()).device
        gradients = sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
        room = self._room(device) - gradients - self.largest_bytes
        return max(0, int(SHARE.get(device.type, 0.0) * room / self.largest_bytes))


@contextmanager
def saved_bytes(model: Module) -> Iterator[dict[int, int]]:
    """Give the bytes that are kept for the backward pass, by address; weights, which are there anyway, not counted."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes
