"""Whether the library's loss takes the arguments that the spec gives it. Imports torch."""

import difflib
import inspect
from collections.abc import Iterator

from sentence_transformers import SentenceTransformer

from finetune_api.reasons import Reason
from finetune_api.types import Loss
from finetune_trainer.data.problems import InputProblem
from finetune_trainer.failures import RunFailure
from finetune_trainer.losses.build import LOSSES, build_loss

#: Arguments that the trainer sets.
_OURS = frozenset({"self", "model", "show_progress_bar"})


def check_loss(loss: Loss, model: SentenceTransformer) -> list[InputProblem]:
    """Return every argument that the class does not have, with the nearest one that it has, or cannot use."""
    known = [name for name in inspect.signature(LOSSES[loss.name]).parameters if name not in _OURS]
    unknown = list(_unknown_arguments(loss, known))
    if unknown:
        return unknown
    try:
        build_loss(loss, model, world_size=1)
    except RunFailure as failure:
        return [InputProblem(failure.reason, failure.message)]
    return []


def check_dimensions(loss: Loss, *, embedding_dimension: int) -> list[InputProblem]:
    """Return a problem if a Matryoshka dimension is larger than the model's embeddings."""
    too_large = [size for size in loss.matryoshka_dimensions if size > embedding_dimension]
    if not too_large:
        return []
    message = (
        f"spec.training.loss.matryoshkaDimensions: {too_large} is wrong because the model's embeddings have "
        f"{embedding_dimension} dimensions; leave out what is larger"
    )
    return [InputProblem(Reason.INVALID_ARGUMENT, message)]


def _unknown_arguments(loss: Loss, known: list[str]) -> Iterator[InputProblem]:
    for name in loss.arguments:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known)}"
        message = f"spec.training.loss.arguments.{name}: {loss.name} has no such argument that can be set; {hint}"
        yield InputProblem(Reason.INVALID_ARGUMENT, message)
