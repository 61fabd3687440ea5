"""Whether training has changed any weight at all: each tensor of the result is looked for in the base model.

By content, whatever it is called: models are saved under other names, in other files and in another precision than they
were loaded from, adapters are merged, and a router's encoders were models of their own.
"""

import hashlib
import logging
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PICKLED = frozenset({".bin", ".pt", ".pth"})
_BLOCK = 1 << 20  # numbers at once

_log = logging.getLogger(__name__)


def is_unchanged(model: Path, bases: Iterable[Path]) -> bool:
    """Say whether every weight below `model` is one of a base model's, cast to the precision at hand.

    One weight that no base model has ends the search, mostly among the first and smallest; weights are read from their
    files in blocks. Without weights of a base model there is nothing to be equal to.
    """
    known = [path for base in bases for path in _weight_files(base)]
    if not known:
        return False
    by_shape: defaultdict[torch.Size, list[torch.Tensor]] = defaultdict(list)
    for tensor in _tensors(known):
        by_shape[tensor.shape].append(tensor)
    contents: dict[tuple[torch.Size, torch.dtype], set[bytes]] = {}
    for tensor in sorted(_tensors(_weight_files(model)), key=lambda one: one.numel()):
        kind = tensor.shape, tensor.dtype
        if kind not in contents:
            contents[kind] = {_content(one, tensor.dtype) for one in by_shape[tensor.shape]}
        if _content(tensor, tensor.dtype) not in contents[kind]:
            return False
    return True


def _weight_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in _PICKLED | {".safetensors"})


def _tensors(files: Iterable[Path]) -> Iterator["torch.Tensor"]:
    """Yield the weights in files; those of safetensors are mapped, not read."""
    import torch  # noqa: PLC0415 - takes seconds
    from safetensors import safe_open  # noqa: PLC0415 - its tensors are torch's

    for path in files:
        if path.suffix in _PICKLED:
            yield from (one for one in _unpickled(path).values() if isinstance(one, torch.Tensor))
            continue
        with safe_open(path, framework="pt") as weights:
            yield from (weights.get_tensor(name) for name in weights.keys())  # noqa: SIM118 - it is no mapping


def _unpickled(path: Path) -> dict[str, object]:
    """Return what a file of weights holds, nothing if it holds something else."""
    import torch  # noqa: PLC0415 - as above

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        _log.info("no weights", extra={"path": str(path), "error": str(error)[:200]})
        return {}
    return found if isinstance(found, dict) else {}


def _content(tensor: "torch.Tensor", dtype: "torch.dtype") -> bytes:
    """Return the hash of the numbers in `dtype`; a zero has no sign, since merging an adapter of nothing takes it."""
    import torch  # noqa: PLC0415 - as above

    digest = hashlib.sha256()
    for block in torch.split(tensor.detach().reshape(-1), _BLOCK):
        numbers = block.to(dtype)
        if dtype.is_floating_point and dtype.itemsize > 1:
            numbers = numbers + 0  # of -0 this makes 0
        digest.update(numbers.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.digest()
