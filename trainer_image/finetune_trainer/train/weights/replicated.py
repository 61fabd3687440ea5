"""Gradients averaged over the ranks once per optimizer step, and the parameters that are trained.

Done here instead of by DistributedDataParallel, which takes a parameter for unused, or for ready too early, whenever a
loss forwards several times, forwards columns of different modalities, or hands the model no plain dictionary. Whether
that fails or trains on a wrong gradient depends on its settings. One average after the backward pass is right in
every case, spares the copy of all gradients that DistributedDataParallel keeps, and lets a step be repeated.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import distributed
from torch.nn import Module, Parameter

from finetune_trainer.train.gang.ranks import WRITER, Ranks

#: Gradients are sent in pieces of about so many bytes, and the next is put together while others are under way. On two
#: CPU ranks this takes half the time of pieces of 64 MiB one after another.
PIECE_BYTES = 8 * 2**20
PIECES_UNDER_WAY = 8


def trained_parameters(model: Module, losses: Sequence[Module]) -> dict[str, Parameter]:
    """Return what the optimizer changes, by name: the model's parameters, and those that losses have of their own."""
    found = {name: one for name, one in model.named_parameters() if one.requires_grad}
    known = {id(one) for one in model.parameters()}
    for number, loss in enumerate(losses):
        for name, one in loss.named_parameters():
            if one.requires_grad and id(one) not in known:
                known.add(id(one))
                found[f"loss.{number}.{name}"] = one
    return found


@torch.no_grad()
def make_equal(tensors: Iterable[torch.Tensor], ranks: Ranks) -> None:
    """Give every rank the writer's numbers, sent from the ranks' device; each tensor stays where it is."""
    if ranks.world_size == 1:
        return
    for tensor in tensors:
        sent = tensor.data.to(ranks.device)
        distributed.broadcast(sent, src=WRITER)
        if sent.device != tensor.device:
            tensor.data.copy_(sent)


class Replicated:
    """Weights that are whole on every rank. Every rank calls each method at the same point."""

    def __init__(self, trained: Sequence[Parameter], *, ranks: Ranks) -> None:
        """Look after the gradients of `trained`, the same in the same order on every rank."""
        self._trained = trained
        self._ranks = ranks

    def gather(self) -> None:
        """Have whole weights, as there always are."""

    def average_gradients(self) -> None:
        """Replace each gradient by its mean over the ranks; one that no rank has stays None."""
        average_gradients(self._trained, self._ranks)

    def forget_gradients(self) -> None:
        """Drop half-made gradients."""
        for one in self._trained:
            one.grad = None

    def gathered(self) -> AbstractContextManager[None]:
        """Let every rank have whole weights, to compute with."""
        return nullcontext()

    def whole(self) -> AbstractContextManager[None]:
        """Let the writer have the model's weights as they are to be written."""
        return nullcontext()


@torch.no_grad()
def average_gradients(parameters: Sequence[Parameter], ranks: Ranks) -> None:
    """Replace each gradient by its mean over the ranks; one that no rank has stays None.

    Every rank calls this with the same parameters in the same order.
    """
    if ranks.world_size == 1:
        return
    used = ranks.any_has([parameter.grad is not None for parameter in parameters])
    for parameter, is_used in zip(parameters, used, strict=True):
        if is_used and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    under_way: deque[tuple[list[torch.Tensor], torch.Tensor, distributed.Work]] = deque()
    for piece in pieces([parameter.grad for parameter in parameters if parameter.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in piece]).div_(ranks.world_size)
        under_way.append((piece, flat, distributed.all_reduce(flat, async_op=True)))
        if len(under_way) == PIECES_UNDER_WAY:
            put_back(*under_way.popleft())
    for sent in under_way:
        put_back(*sent)


def put_back(piece: list[torch.Tensor], flat: torch.Tensor, work: distributed.Work) -> None:
    """Wait for a piece that was sent, and write it over the gradients that it was made of."""
    work.wait()
    for gradient, mean in zip(piece, torch.split(flat, [gradient.numel() for gradient in piece]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def pieces(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yield the gradients in lists of one dtype and about PIECE_BYTES."""
    piece: list[torch.Tensor] = []
    size = 0
    for gradient in gradients:
        if piece and (size >= PIECE_BYTES or gradient.dtype != piece[0].dtype):
            yield piece
            piece, size = [], 0
        piece.append(gradient)
        size += gradient.numel() * gradient.element_size()
    if piece:
        yield piece
