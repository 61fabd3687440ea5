# ruff: noqa: ANN401 - inputs and outputs of a model are the library's
"""Forward passes that a gradient-cached loss need not repeat, because what they computed fits on the accelerator.

Such a loss embeds a batch in mini-batches without gradients, derives the gradient of each embedding, and then embeds
every mini-batch again, with gradients, to pass it on. Where an accelerator has room for the graphs of some
mini-batches, these are embedded with gradients at once and their graphs kept: a fourth of the computing is saved on
each, the gradient is the same. Not on a CPU, whose memory others share, and where running out of it ends the process.
"""

import bisect
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch.nn import Module

logger = logging.getLogger(__name__)
#: Part of an accelerator's free memory that is counted on: batches differ.
SHARE = 0.7
#: What losses take of a model's output; the rest of it need not be kept.
TAKEN = ("sentence_embedding", "scores")


class GraphSizes:
    """What graphs of one kind of mini-batch took: bytes by elements in the tensors that went in.

    A part does not depend on the elements, such as the copies of all weights that autocast makes for each graph.
    """

    def __init__(self) -> None:
        self._measured: list[tuple[int, int]] = []

    @property
    def largest_bytes(self) -> int:
        """Return what the largest graph took."""
        return max((num_bytes for _, num_bytes in self._measured), default=0)

    def add(self, num_elements: int, num_bytes: int) -> None:
        """Take note of a graph that was measured."""
        bisect.insort(self._measured, (num_elements, num_bytes))

    def is_worth_measuring(self, num_elements: int) -> bool:
        """Say whether the bound for so many elements is missing, or may be twice of what is needed."""
        if not self._measured or num_elements > self._measured[-1][0]:
            return True
        return num_elements <= self._measured[0][0] // 2

    def bytes_for(self, num_elements: int) -> int | None:
        """Return what a graph takes at most; None for more elements than were measured.

        Graphs grow with their elements, and ever faster, so that those between two measured ones are below the line
        through both.
        """
        at = bisect.bisect_left(self._measured, (num_elements, 0))
        if at == len(self._measured):
            return None
        more, most = self._measured[at]
        if at == 0:
            return most
        fewer, least = self._measured[at - 1]
        return math.ceil(least + (most - least) * (num_elements - fewer) / (more - fewer))


class KeptGraphs:
    """Keeps the graphs of as many mini-batches as fit beside a first step, in which nothing is kept.

    Batches differ, of texts or images, short or long: a graph is kept only if one as large was measured before.
    """

    def __init__(self, loss: Any, *, room: Callable[[torch.device], int] | None = None) -> None:
        """Look after one loss.

        Args:
            loss: gradient-cached; its `model` is what is called.
            room: tells how many bytes more a device is to hold; by default :func:`spare_bytes`.

        """
        self._loss = loss
        self._room = room or spare_bytes
        self._budget_bytes: int | None = None
        self._kept_bytes = 0
        self._graphs: defaultdict[tuple[str, ...], GraphSizes] = defaultdict(GraphSizes)
        self._outputs: dict[int, dict[str, torch.Tensor]] = {}

    @property
    def largest_bytes(self) -> int:
        """Return what the largest graph of one mini-batch took, so far."""
        return max((sizes.largest_bytes for sizes in self._graphs.values()), default=0)

    @property
    def limit(self) -> int:
        """Return how many of the largest graphs can be kept; 0 as long as that is not known."""
        return (self._budget_bytes or 0) // self.largest_bytes if self.largest_bytes else 0

    def keep_fewer(self) -> None:
        """Keep half as much from now on, as memory ran out, and nothing where that is less than the largest graph."""
        half = (self._budget_bytes or 0) // 2
        self._budget_bytes = half if half >= self.largest_bytes else 0
        logger.warning("fewer graphs kept", extra={"mini_batches": self.limit})

    @contextmanager
    def step(self) -> Iterator[None]:
        """Take over the loss's model for one forward and backward pass."""
        self._set_budget()
        model, first, second = self._loss.model, count(), count()
        forward, is_own = model.forward, "forward" in vars(model)

        def take_over(*inputs: Any, **settings: Any) -> Any:
            if torch.is_grad_enabled():
                output = self._outputs.pop(next(second), None)
                return self._measured(forward, *inputs, **settings) if output is None else output
            number = next(first)
            if not self._take_room(inputs, settings):
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
            self._kept_bytes = 0
            if is_own:
                model.forward = forward
            else:
                del model.forward

    def _measured(self, forward: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
        """Call `forward`, and note how many bytes its graph holds, unless one about as large was measured."""
        kind, num_elements = describe(inputs, settings)
        if self._budget_bytes == 0 or not self._graphs[kind].is_worth_measuring(num_elements):
            return forward(*inputs, **settings)
        with saved_bytes(self._loss.model) as sizes:
            output = forward(*inputs, **settings)
        self._graphs[kind].add(num_elements, sum(sizes.values()))
        return output

    def _take_room(self, inputs: Sequence[Any], settings: Mapping[str, Any]) -> bool:
        """Take the room for the graph of a mini-batch; False if it is not there, or not known to suffice."""
        kind, num_elements = describe(inputs, settings)
        num_bytes = self._graphs[kind].bytes_for(num_elements)
        if num_bytes is None or self._kept_bytes + num_bytes > (self._budget_bytes or 0):
            return False
        self._kept_bytes += num_bytes
        return True

    def _set_budget(self) -> None:
        """Set how many bytes of graphs fit beside the gradients and one mini-batch that is not kept."""
        model = self._loss.model
        # Gradients from before are those of a first step of several batches, after which the optimizer takes its room.
        if self._budget_bytes is not None or any(one.grad is not None for one in model.parameters()):
            return
        room = self._room(next(model.parameters()).device)
        if room == 0:
            self._budget_bytes = 0
        elif self.largest_bytes:
            gradients = sum(
                one.numel() * (one.grad_dtype or one.dtype).itemsize for one in model.parameters() if one.requires_grad
            )
            self._budget_bytes = max(0, room - gradients - self.largest_bytes)
            logger.info("graphs kept", extra={"mini_batches": self.limit, "mini_batch_bytes": self.largest_bytes})


def spare_bytes(device: torch.device) -> int:
    """Return how many bytes an accelerator can hold beside what it holds, with some to spare; 0 for a CPU."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return int(SHARE * (free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)))


def describe(inputs: Sequence[Any], settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Return the kind of a mini-batch, which is the names of its tensors, and how many elements these have."""
    named = {name: one for given in (*inputs, settings) if isinstance(given, Mapping) for name, one in given.items()}
    tensors = {name: one for name, one in named.items() if torch.is_tensor(one)}
    return tuple(sorted(tensors)), sum(one.numel() for one in tensors.values())


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
