"""Low-rank adapters: added for training, merged into copies of the weights where the model is measured or written."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from peft import LoraConfig
from peft.tuners.lora import layer as adapted
from peft.tuners.tuners_utils import cast_adapter_dtype
from sentence_transformers import CrossEncoder, SentenceTransformer
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from finetune_api.model import Lora

ADAPTER = "default"
#: Conv1D is a linear layer whose weights are transposed.
LINEAR = (nn.Linear, Conv1D)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Adapted = adapted.Linear | adapted.Conv1d | adapted.Conv2d | adapted.Conv3d


def add_adapters(model: SentenceTransformer | CrossEncoder, lora: Lora) -> None:
    """Freeze the transformer of `model` and give its layers adapters, in float32 whatever the weights are in.

    What comes after the transformer stays trainable, and so does a classifier's head, which is often new.
    """
    backbone = model.transformers_model
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a factor, which need not be whole
        lora_dropout=lora.dropout,
        target_modules=targets(backbone, lora.target_modules) or linear_layers(backbone),
    )
    model.add_adapter(config, ADAPTER)
    cast_adapter_dtype(backbone, ADAPTER)
    if hasattr(backbone, "num_labels") and type(backbone).__name__.endswith("ForSequenceClassification"):
        for name, parameter in backbone.named_parameters():
            if not name.startswith(f"{backbone.base_model_prefix}."):
                parameter.requires_grad_(requires_grad=True)


def targets(backbone: PreTrainedModel, wanted: Iterable[str]) -> list[str]:
    """Return the full names of the layers that have one of the `wanted` names, or end with it, and can be merged.

    PEFT left to itself also gives adapters to embeddings, which may be the weights of the output head as well.
    """
    endings = tuple(f".{name}" for name in wanted)
    return [name for name in mergeable_layers(backbone) if f".{name}".endswith(endings)]


def mergeable_layers(backbone: PreTrainedModel) -> list[str]:
    """Return the names of the layers whose adapters can be merged: linear layers and convolutions of one group."""
    return [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, LINEAR) or (isinstance(module, CONVOLUTIONS) and module.groups == 1)
    ]


def linear_layers(backbone: PreTrainedModel) -> list[str]:
    """Return the linear layers of the language model, or of the whole encoder where there is none; no output head."""
    language_model = backbone.get_decoder()
    (prefix,) = (name for name, module in backbone.named_modules() if module is language_model)
    names = (name for name, module in language_model.named_modules() if isinstance(module, LINEAR))
    return [f"{prefix}.{name}" if prefix else name for name in names]


@contextmanager
def merged(model: SentenceTransformer | CrossEncoder) -> Iterator[None]:
    """Show the model as the one without adapters that is published, while it is measured or written; then as it was.

    The weights that training goes on with are not touched: merged copies stand in for their layers.
    """
    backbone = model.transformers_model
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Adapted)}
    if not layers:
        yield
        return
    try:
        for name, layer in layers.items():
            model.set_submodule(name, merge(layer))
        backbone._hf_peft_config_loaded = False  # noqa: SLF001 - else save_pretrained writes the adapters alone
        yield
    finally:
        backbone._hf_peft_config_loaded = True  # noqa: SLF001
        for name, layer in layers.items():
            model.set_submodule(name, layer)


@torch.no_grad()
def merge(layer: Adapted) -> nn.Module:
    """Return a copy of the layer below the adapter with the adapter's weights added, summed in float32."""
    base = cast("nn.Linear", layer.get_base_layer())
    weight = (base.weight.float() + layer.get_delta_weight(ADAPTER).float()).to(base.weight.dtype)
    memo = {id(base.weight): nn.Parameter(weight, requires_grad=False)}
    plain: nn.Module = copy.deepcopy(base, memo)
    return plain
