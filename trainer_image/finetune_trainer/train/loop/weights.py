"""The part of a checkpoint that holds weights: what training changes, by name. The rest is loaded with the model."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FILE = "model.safetensors"


def changing_buffers(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the buffers that belong to the model's state, such as running means."""
    kept = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in kept}


def write_weights(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write the tensors; weights that are tied have one name and are written once."""
    save_file({name: one.detach().contiguous() for name, one in tensors.items()}, folder / FILE, {"format": "pt"})


@torch.no_grad()
def read_weights(tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Read what `write_weights` wrote into the same tensors, in place.

    Raises:
        KeyError: the checkpoint holds other names, so that it is of another model or of other frozen parameters.

    """
    stored = load_file(folder / FILE)
    if stored.keys() != tensors.keys():
        raise KeyError(f"{folder} holds other weights: {sorted(stored.keys() ^ tensors.keys())[:5]}")
    for name, one in tensors.items():
        one.copy_(stored[name])
