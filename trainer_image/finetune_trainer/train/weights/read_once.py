"""The model on every rank, read from the volume by one of them.

A gang of 32 ranks would read the weights 32 times, and hold them in the host memory of a node as often as it has
accelerators. So the others make the model without weights, make room for these on their device, and get the writer's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch.nn import Module, Parameter

from finetune_trainer.recipe.model.precision import META
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.weights.replicated import make_equal

Loaded = TypeVar("Loaded", bound=SentenceTransformer | CrossEncoder)


def read_once(load: Callable[[torch.device], Loaded], ranks: Ranks) -> Loaded:
    """Return what `load` returns for this rank's device, with the writer's numbers in it.

    Args:
        load: makes the model on a device; on the meta device it has no weights. A rank whose model then has other
            tensors than the writer's, as some classes make what they are from their weights, reads these, too; and so
            does one whose model has tensors that no device is chosen for, plain attributes of a module.
        ranks: that all call this at the same point.

    """
    model = load(ranks.device if ranks.is_writer else META)
    wanted = ranks.share(outline(model))
    if outline(model) != wanted:
        model = load(ranks.device)
    make_room(model, ranks.device)
    assert outline(model) == wanted, "the same files make the same model on every rank"
    make_equal(dict.fromkeys(place.tensor for place in places_in(model)), ranks)
    return model


@dataclass(frozen=True)
class Place:
    """Where a module keeps a tensor."""

    name: str
    kept: dict[str, torch.Tensor]
    key: str
    is_plain: bool
    """Whether it is neither parameter nor buffer, so that it does not move with the model."""

    @property
    def tensor(self) -> torch.Tensor:
        return self.kept[self.key]


def places_in(model: Module) -> Iterator[Place]:
    """Yield all of them, also of what a state does not have: buffers that are computed, and plain attributes."""
    for prefix, module in model.named_modules():
        for kept in (module._parameters, module._buffers, vars(module)):  # noqa: SLF001 - to put others there
            for key, tensor in list(kept.items()):
                if isinstance(tensor, torch.Tensor):
                    yield Place(f"{prefix}.{key}", kept, key, is_plain=kept is vars(module))


Outline = list[tuple[str, int, torch.Size, torch.dtype, str]]


def outline(model: Module) -> Outline:
    """Return of each place its name; of its tensor number (tied weights are one), shape, type and, if plain, device."""
    numbers: dict[torch.Tensor, int] = {}
    found = []
    for place in places_in(model):
        tensor, number = place.tensor, numbers.setdefault(place.tensor, len(numbers))
        found.append((place.name, number, tensor.shape, tensor.dtype, tensor.device.type if place.is_plain else ""))
    return found


def make_room(model: SentenceTransformer | CrossEncoder, device: torch.device) -> None:
    """Have a tensor of any numbers on `device` wherever the model has one on the meta device; tied ones stay tied."""
    made: dict[torch.Tensor, torch.Tensor] = {}
    for place in places_in(model):
        old = place.tensor
        if old.device == META and old not in made:
            new = torch.empty_like(old, device=device)
            made[old] = Parameter(new, requires_grad=old.requires_grad) if isinstance(old, Parameter) else new
        place.kept[place.key] = made.get(old, old)
    model.to(device)  # whatever has numbers of its own; and the library forgets that it was to leave the model on meta
