"""What training changes, as tensors by name: weights, buffers, and what the optimizer remembers of each weight.

The rest is loaded with the model. Names are those of the weights, and never their order, in front of which stands
whose tensor it is.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from finetune_trainer.train.checkpoints.parts import read_parts, stored_tensors

WEIGHTS = "weights."
OPTIMIZER = "optimizer."


def changing_buffers(model: Module) -> dict[str, torch.Tensor]:
    """Return the buffers that belong to the model's state, such as running means."""
    kept = model.state_dict().keys()
    return named_weights({name: buffer for name, buffer in model.named_buffers() if name in kept})


def named_weights(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights or buffers under their names in a checkpoint; tied ones have one name and are written once."""
    return {f"{WEIGHTS}{name}": one for name, one in tensors.items()}


def read_weights(tensors: Mapping[str, torch.Tensor], folder: Path, *, group: ProcessGroup | None) -> None:
    """Read weights and buffers in place; every rank calls this.

    Raises:
        KeyError: the checkpoint holds other names, so that it is of another model or of other frozen parameters.

    """
    stored = {name for name in stored_tensors(folder) if name.startswith(WEIGHTS)}
    if stored != tensors.keys():
        raise KeyError(f"{folder} holds other weights: {sorted(stored ^ tensors.keys())[:5]}")
    read_parts(tensors, folder, group=group)


def remembered(
    optimizer: Optimizer, trained: Mapping[str, Parameter]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return what the optimizer remembers as tensors, and what else it goes on with: numbers, and its settings."""
    values = dict(_values(optimizer, trained))
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return tensors, {"groups": groups, "numbers": {name: values[name] for name in values.keys() - tensors.keys()}}


def remember(
    optimizer: Optimizer,
    trained: Mapping[str, Parameter],
    folder: Path,
    *,
    rest: Mapping[str, Any],
    group: ProcessGroup | None,
) -> None:
    """Give the optimizer what `remembered` returned: `rest`, and the tensors in `folder`; every rank calls this."""
    stored = {name: one for name, one in stored_tensors(folder).items() if name.startswith(OPTIMIZER)}
    tensors = {name: _room_for(one, trained[name.split(".", 2)[2]]) for name, one in stored.items()}
    read_parts(tensors, folder, group=group)
    by_weight: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in {**tensors, **rest["numbers"]}.items():
        _, key, weight = name.split(".", 2)
        by_weight[weight][key] = value
    names = {id(parameter): name for name, parameter in trained.items()}
    order = (names[id(one)] for one in itertools.chain(*(group["params"] for group in optimizer.param_groups)))
    now = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(
        {
            "state": {number: by_weight[name] for number, name in enumerate(order) if name in by_weight},
            "param_groups": [
                {**before, "params": one["params"]} for before, one in zip(rest["groups"], now, strict=True)
            ],
        }
    )


def _values(optimizer: Optimizer, trained: Mapping[str, Parameter]) -> Iterator[tuple[str, Any]]:
    names = {id(parameter): name for name, parameter in trained.items()}
    for parameter, state in optimizer.state.items():
        yield from ((f"{OPTIMIZER}{key}.{names[id(parameter)]}", value) for key, value in state.items())


def _room_for(stored: TensorStorageMetadata, weight: torch.Tensor) -> torch.Tensor:
    """Return an empty tensor for what is remembered of a weight, spread over the ranks as the weight is."""
    dtype = stored.properties.dtype
    if isinstance(weight, DTensor) and stored.size == weight.size():
        return torch.zeros_like(weight, dtype=dtype)
    return torch.zeros(stored.size, dtype=dtype, device=weight.device if stored.size else "cpu")
