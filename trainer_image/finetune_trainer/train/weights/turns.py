"""Collectives of all ranks in one order, although each rank comes to those that it needs when it does.

Where layers are gathered one at a time, forward and backward passes are made of collectives, and ranks differ in their
passes: in mini-batches, in the parts of the model that their rows go through, in where memory runs out. So they agree
before each collective on which one is next. A rank that has no use for it takes part all the same, with its share of
the weights or without a gradient; and one that waits for the others in anything else takes part until all of them do.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import distributed
from torch.distributed import ProcessGroup
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_collectives import DefaultAllGather, DefaultReduceScatter
from torch.distributed.tensor import DTensor
from torch.nn import Module, Parameter

from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.memory import is_out_of_memory
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.workspace.failures import RunFailure


def is_shared_out(parameter: Parameter) -> bool:
    """Say whether each rank keeps a share of it."""
    return parameter.requires_grad and parameter.ndim > 0


@dataclass(frozen=True)
class Layer:
    """A layer of which each rank keeps a share."""

    module: FSDPModule
    shares: Sequence[tuple[DTensor, torch.dtype]]
    """Of this rank, and the precision that they are gathered in; in the order of FSDP2, which is the module's."""

    def weights(self) -> Iterator[Parameter]:
        """Yield what the shares are of, while it is whole."""
        return (one for one in cast("Module", self.module).parameters() if is_shared_out(one))

    @torch.inference_mode(mode=False)  # in which PyTorch takes no DTensor apart
    @torch.no_grad()
    def flat(self) -> torch.Tensor:
        """Return the bytes that this rank gives to others: shares are cut along rows, all as long as the longest."""
        pieces = []
        for share, dtype in self.shares:
            here = share.to_local()
            piece = here.new_zeros(longest(share), dtype=dtype)
            piece[: len(here)] = here
            pieces.append(piece.flatten().view(torch.uint8))
        return torch.cat(pieces)

    @property
    def numel(self) -> int:
        """Return how many numbers that is."""
        return sum(math.prod(longest(one)) for one, _ in self.shares)


def longest(share: DTensor) -> tuple[int, ...]:
    """Return the shape of the longest share of a weight."""
    rows, *rest = share.shape
    return (-(-rows // share.device_mesh.size()), *rest)


class Turns:
    """The order of a model's collectives. They are numbered so that the lowest is what the rank furthest behind needs.

    Layers are gathered from the first on, and their gradients summed from the last on.
    """

    def __init__(self, layers: Sequence[Layer], *, group: ProcessGroup, ranks: Ranks) -> None:
        """Let `layers`, which are sharded over `group`, wait for their turn; every rank has the same ones."""
        self._layers = layers
        self._group = group
        self._ranks = ranks
        self._sums: dict[int, torch.Tensor] = {}
        self._used: set[torch.Tensor] = set()
        if layers:
            ranks.before.append(self.meet)
        for number, layer in enumerate(layers):
            layer.module.set_custom_all_gather(_Gather(self, number))
            layer.module.set_custom_reduce_scatter(_Reduce(self, number))
            layer.module.set_requires_gradient_sync(ranks.world_size == 1, recurse=False)  # which calls no collective
            layer.module.unshard()
            for (share, _), weight in zip(layer.shares, layer.weights(), strict=True):
                weight.register_post_accumulate_grad_hook(partial(self._has_come_back, share))  # type: ignore[no-untyped-call]
            layer.module.reshard()

    def _has_come_back(self, share: torch.Tensor, _weight: torch.Tensor) -> None:
        self._used.add(share)

    def has_used(self, weight: torch.Tensor) -> bool:
        """Say whether this rank has a gradient of a weight, which may have been summed with others' already."""
        return weight in self._used if isinstance(weight, DTensor) else weight.grad is not None

    def meet(self) -> None:
        """Return when all ranks are here; until then, take part in what others need."""
        self._wait_for(2 * len(self._layers))

    def gather(self, number: int) -> None:
        """Return when gathering this layer is what all ranks do next."""
        self._wait_for(number)
        self._layers[number].module.set_requires_gradient_sync(True, recurse=False)

    def reduce(self, number: int) -> None:
        """Return when summing this layer's gradients is what all ranks do next."""
        self._wait_for(2 * len(self._layers) - 1 - number)
        # FSDP2 ends each backward pass by summing for all layers; those that were not in it have nothing to say.
        self._layers[number].module.set_requires_gradient_sync(False, recurse=False)

    def add_others(self, number: int, gradient: torch.Tensor) -> None:
        """Add to this rank's share what was summed of others' gradients without its own."""
        if (others := self._sums.pop(number, None)) is not None:
            gradient.add_(others)

    def reduce_the_rest(self) -> None:
        """Let the next backward pass bring in what was summed without a gradient of this rank; for all ranks alike."""
        if not self._layers or self._ranks.world_size == 1:
            return
        here = [number in self._sums for number in range(len(self._layers))]
        for layer, is_left in zip(self._layers, self._ranks.any_has(here), strict=True):
            layer.module.set_requires_gradient_sync(is_left, recurse=False)

    def forget(self) -> None:
        """Drop what is known of a step."""
        self._sums.clear()
        self._used.clear()

    def _wait_for(self, wanted: int) -> None:
        while (turn := self._ranks.lowest(wanted)) != wanted:
            try:
                self._take_part(turn)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise RunFailure(
                    Reason.OUT_OF_MEMORY,
                    "memory ran out while a layer was passed on to other processes, as training.sharding Full takes; "
                    "make mini_batch_size or perDeviceTrainBatchSize smaller",
                ) from error

    def _take_part(self, turn: int) -> None:
        """Take part without a use for it; wait until it is done, as it may be in any stream."""
        device, size = self._ranks.device, self._ranks.world_size
        if turn < len(self._layers):
            share = self._layers[turn].flat()
            distributed.all_gather_single(share.new_empty(size * len(share)), share, group=self._group)
        else:
            number = 2 * len(self._layers) - 1 - turn
            none = torch.zeros(size * self._layers[number].numel, device=device)
            others = none.new_empty(self._layers[number].numel)
            distributed.reduce_scatter_single(others, none, op=distributed.ReduceOp.AVG, group=self._group)
            self.add_others(number, others)
            self._sums[number] = others
        if device.type != "cpu":
            torch.accelerator.synchronize(device)


class _Gather(DefaultAllGather):
    def __init__(self, turns: Turns, number: int) -> None:
        self._turns, self._number = turns, number

    def __call__(self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, *rest: Any, **settings: Any) -> Any:  # noqa: ANN401
        self._turns.gather(self._number)
        return super().__call__(output_tensor.view(torch.uint8), input_tensor.view(torch.uint8), *rest, **settings)


class _Reduce(DefaultReduceScatter):
    def __init__(self, turns: Turns, number: int) -> None:
        self._turns, self._number = turns, number

    def __call__(self, output_tensor: torch.Tensor, *rest: Any, **settings: Any) -> Any:  # noqa: ANN401
        self._turns.reduce(self._number)
        done = super().__call__(output_tensor, *rest, **settings)
        self._turns.add_others(self._number, output_tensor)
        return done
