"""What data loader workers hand over moves to shared memory while they make it.

torch would move it later, in a thread of the worker's queue, where an error is only printed: with /dev/shm full, the
training process would wait for ever for a batch that never comes.
"""

import resource
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from PIL.Image import Image
from torch.utils.data import get_worker_info

from finetune_trainer.recipe.model.pair_images import PREPARED


def share(batch: Any) -> None:  # noqa: ANN401 - nested as the collator likes it
    """In a worker, move the batch's tensors to shared memory; elsewhere do nothing.

    Raises:
        RuntimeError: there is no room.

    """
    if get_worker_info() is None:
        return
    for tensor in tensors_in(batch):
        if tensor.device.type == "cpu":
            tensor.share_memory_()  # type: ignore[no-untyped-call]


def open_more_files() -> None:
    """Let this process have as many files open as it may: each tensor that a worker hands over is one.

    macOS states no limit and refuses to have none; torch does not hand over files there.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def tensors_in(value: Any) -> Iterator[torch.Tensor]:  # noqa: ANN401
    """Yield the tensors of nested collections, and those that images carry."""
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, Image):
        yield from tensors_in(value.info.get(PREPARED))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_in(one)
