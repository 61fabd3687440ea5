"""Lays weights out over the ranks."""

from collections.abc import Sequence

from torch.nn import Module

from finetune_api.types import Sharding
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.train.weights.replicated import Replicated, make_equal, trained_parameters
from finetune_trainer.train.weights.sharded import Sharded


def lay_out(model: Module, losses: Sequence[Module], *, ranks: Ranks, sharding: Sharding) -> Replicated | Sharded:
    """Return how the ranks hold the weights of model and losses; the losses' own are the writer's from here on."""
    ranks.before.clear()
    trained = list(trained_parameters(model, losses).values())
    of_model = set(model.parameters())
    make_equal([one for one in trained if one not in of_model], ranks)
    if sharding != "None":
        return Sharded(model, losses, ranks=ranks, full=sharding == "Full")
    return Replicated(trained, ranks=ranks)
