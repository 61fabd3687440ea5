"""A model that is built, with or without weights, in numbers."""

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch.nn import Module

from finetune_trainer.recipe.capacity.figures import ModelFigures, stacks_of
from finetune_trainer.recipe.model.layers import layers_of


def model_figures(model: SentenceTransformer | CrossEncoder) -> ModelFigures:
    """Return what is known of a model that is built, with or without weights."""
    transformers = [module.model for module in model.modules() if isinstance(module, Transformer)]
    return ModelFigures(
        parameters=sum(one.numel() for one in model.parameters()),
        trained=_trained(model),
        stored_bytes=0,
        stacks=tuple(stack for one in transformers for stack in stacks_of(one.config.to_dict())),
        layers=tuple(_trained(layer) for layer in layers_of(model)),
    )


def _trained(module: Module) -> int:
    return sum(one.numel() for one in module.parameters() if one.requires_grad)
