"""The spec's loss as the library's object."""

from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn

from finetune_api.losses import Kind
from finetune_api.objective import Loss
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.losses.arguments import ModelFacts, Part, complete, parts_of
from finetune_trainer.recipe.losses.guide import load_guide
from finetune_trainer.recipe.losses.tokens import counts_tokens
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure

#: What the constructors of losses and MatryoshkaLoss raise for arguments that they cannot use with this model.
REFUSALS = (AssertionError, AttributeError, KeyError, OSError, TypeError, ValueError)


def build_loss(
    spec: Loss, model: SentenceTransformer | CrossEncoder, *, kind: Kind, world_size: int, workspace: Workspace
) -> nn.Module:
    """Return the loss, inside MatryoshkaLoss if dimensions are given.

    Layers of its own are initialised from torch's random numbers, which therefore have to be equal on all ranks.

    Args:
        spec: of the loss.
        model: that is trained; on the meta device nothing but the arguments is tried.
        kind: of the model.
        world_size: ranks that train together.
        workspace: where other models are.

    Raises:
        RunFailure: the library does not take an argument, or not with this model.

    """
    guide = load_guide(spec.guide, workspace, device=model.device) if spec.guide else None
    try:
        return _Builder(model, kind=kind, world_size=world_size).build(spec, guide)
    except REFUSALS as error:
        message = f"training.loss: {spec.name} was refused: {one_line(error)}"
        raise RunFailure(Reason.INVALID_ARGUMENT, message) from error


class _Builder:
    """Builds losses of one model."""

    def __init__(self, model: SentenceTransformer | CrossEncoder, *, kind: Kind, world_size: int) -> None:
        self._model = model
        self._kind = kind
        self._world_size = world_size

    def build(self, spec: Loss, guide: SentenceTransformer | None) -> nn.Module:
        """Return the loss with everything that is put around it."""
        *around, part = parts_of(spec, self._kind)
        loss = self._make(part, **({} if guide is None else {"guide": guide}))
        dimensions = {
            "matryoshka_dims": list(spec.matryoshka_dimensions),
            "matryoshka_weights": list(spec.matryoshka_weights) or None,
        }
        for outer in reversed(around):
            cuts = "matryoshka_dims" in outer.entry.parameters
            loss = self._make(outer, loss=loss, **(dimensions if cuts else {}))
        return loss

    def _make(self, part: Part, **more: Any) -> nn.Module:  # noqa: ANN401 - as the class takes them
        """Return one loss with its arguments and `more` that the manifest says elsewhere."""
        if problems := list(part.stated.problems("training.loss.arguments")):
            raise ValueError("; ".join(map(str, problems)))
        if "embedding_dimension" in part.entry.parameters:
            more["embedding_dimension"] = self._model.get_embedding_dimension()
        facts = ModelFacts(
            device=self._model.device,
            counts_tokens=lambda: counts_tokens(self._model),
            embedding_size=getattr(self._model, "get_embedding_dimension", lambda: None)(),
        )
        arguments = complete(part.read(), part.entry, model=facts, world_size=self._world_size)
        return with_layers_of_any_input(part.entry.cls(self._model, **arguments, **more))


def with_layers_of_any_input(loss: nn.Module) -> nn.Module:
    """Let the layers that a loss has of its own, which are in float32, take the embeddings of a model that is not.

    EmbedDistillLoss and MSELoss hand theirs on as they are, which such a layer refuses in the first step.
    """
    for layer in loss.children():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(cast_to_weights)
    return loss


def cast_to_weights(layer: nn.Linear, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Return the input in the precision of the layer."""
    return (inputs[0].to(layer.weight.dtype),)
