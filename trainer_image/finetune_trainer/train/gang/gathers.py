"""What losses gather of all ranks: the only thing that ranks do together and the trainer does not call."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sentence_transformers.util import distributed

from finetune_trainer.train.gang.ranks import Ranks


@contextmanager
def meeting_to_gather(ranks: Ranks) -> Iterator[None]:
    """While inside, let ranks meet before a loss gathers embeddings, and before a gradient goes back through that."""
    gather = distributed.all_gather

    def meet_and_gather(tensor: torch.Tensor, *arguments: Any, **settings: Any) -> torch.Tensor:  # noqa: ANN401
        ranks.meet()
        gathered: torch.Tensor = gather(tensor, *arguments, **settings)
        if gathered.requires_grad:
            gathered.register_hook(lambda _: ranks.meet())  # type: ignore[no-untyped-call]
        return gathered

    distributed.all_gather = meet_and_gather
    try:
        yield
    finally:
        distributed.all_gather = gather
