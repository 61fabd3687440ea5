"""How the batches of a training that began on other ranks are dealt to these: in each step the same rows, in one order.

A loss that gathers what other ranks have embedded gets each global batch whole, in parts of another size. Every other
one keeps its parts, and a rank makes more or fewer of them in a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune_api.losses import losses_of
from finetune_api.reasons import Reason
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.recipe.batches.sets import TrainingSet
from finetune_trainer.recipe.losses.arguments import parts_of
from finetune_trainer.workspace.failures import RunFailure


@dataclass(frozen=True)
class Deal:
    """How global batches become those of one rank."""

    parts: int
    """Into which a global batch is cut."""
    accumulation: int
    """Parts of one rank in a step."""


def deal(sets: Sequence[TrainingSet], spec: FinetuneJobSpec, *, began_with: int, world_size: int, steps: int) -> Deal:
    """Return how `world_size` ranks share global batches of `began_with` ranks, of which an epoch has `steps`.

    Raises:
        RunFailure: so many ranks cannot.

    """
    found = find_deal(sets, spec, began_with=began_with, world_size=world_size, steps=steps)
    if found is not None:
        return found
    others = [
        str(number)
        for number in range(1, 2 * began_with + 1)
        if find_deal(sets, spec, began_with=began_with, world_size=number, steps=steps)
    ]
    raise RunFailure(
        Reason.INVALID_ARGUMENT,
        f"spec.resources: {world_size} processes cannot go on with a training that {began_with} began: its batches "
        f"cannot be shared among them with the same rows and the same loss; ask for {' or '.join(others)} processes, "
        "or remove train/checkpoints from the volume to begin anew",
    )


def find_deal(
    sets: Sequence[TrainingSet], spec: FinetuneJobSpec, *, began_with: int, world_size: int, steps: int
) -> Deal | None:
    """Return what `deal` does, or None where it raises."""
    accumulation = int(spec.training.arguments.get("gradient_accumulation_steps", 1))
    if world_size == began_with:
        return Deal(began_with, accumulation)
    batches, parts_of_step = steps * began_with, accumulation * began_with
    if not any(_gathers(one, spec) for one in sets) and not (batches % world_size or parts_of_step % world_size):
        return Deal(began_with, parts_of_step // world_size)
    if all(_may_be_cut(one, spec) and one.batches.batch_size * began_with % world_size == 0 for one in sets):
        return Deal(world_size, accumulation)
    return None


def _gathers(one: TrainingSet, spec: FinetuneJobSpec) -> bool:
    return any("gather_across_devices" in part.entry.arguments for part in parts_of(one.objective, spec.model.kind))


def _may_be_cut(one: TrainingSet, spec: FinetuneJobSpec) -> bool:
    """Say whether the parts of a global batch may have any size."""
    return losses_of(spec.model.kind)[one.objective.name].global_batch or _gathers(one, spec)
