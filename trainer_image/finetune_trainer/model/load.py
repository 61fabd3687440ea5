"""Loads the base model as the spec says, and tells how it was loaded."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from finetune_api.reasons import Reason
from finetune_api.status import ModelStatus
from finetune_api.types import Model
from finetune_api.workspace import Workspace
from finetune_trainer.distributed.errors import is_out_of_memory, shorten
from finetune_trainer.failures import RunFailure

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: Names under which a model may keep its document prompt; the order is the library's, in `encode_document`.
DOCUMENT_PROMPT_NAMES = ("document", "passage", "corpus")


def load_model(spec: Model, workspace: Workspace, *, device: torch.device) -> SentenceTransformer:
    """Return the prepared base model on `device`, with the spec's precision, attention, limits and prompts.

    Raises:
        RunFailure: the library cannot load it; prepare should have seen that.

    """
    try:
        model = SentenceTransformer(
            str(workspace.base_model),
            device=str(device),
            local_files_only=True,
            model_kwargs={**spec.model_kwargs, **precision_arguments(spec, device=device)},
            processor_kwargs=dict(spec.processor_kwargs),
        )
    except (ImportError, KeyError, OSError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise RunFailure(Reason.UNSUPPORTED_MODEL, f"model: it cannot be loaded ({shorten(error)})") from error
    if spec.max_seq_length is not None:
        model.max_seq_length = spec.max_seq_length
    given = {"query": spec.prompts.query, "document": spec.prompts.document}
    model.prompts = {**model.prompts, **{name: prompt for name, prompt in given.items() if prompt is not None}}
    return model


def precision_arguments(spec: Model, *, device: torch.device) -> dict[str, Any]:
    """Return the arguments of from_pretrained for precision and attention; without one the model's default holds."""
    arguments: dict[str, Any] = {"dtype": DTYPES[spec.dtype]}
    if spec.attention != "auto":
        arguments["attn_implementation"] = spec.attention
    elif device.type == "cuda" and spec.dtype != "float32" and importlib.util.find_spec("flash_attn"):
        arguments["attn_implementation"] = "flash_attention_2"
    return arguments


def autocast_dtype(spec: Model, *, device: torch.device) -> torch.dtype | None:
    """Return the precision of matrix products where it differs from the weights', else None."""
    if spec.dtype == "float32" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return None


def prompts_by_role(prompts: Mapping[str, str]) -> dict[str, str]:
    """Return the prompts of query and document, as encode_query and encode_document choose them."""
    document = next((prompts[name] for name in DOCUMENT_PROMPT_NAMES if name in prompts), "")
    return {"query": prompts.get("query", ""), "document": document}


def describe(model: SentenceTransformer, *, revision: str | None) -> ModelStatus:
    """Return what was loaded and how it runs."""
    attention = getattr(model.config, "_attn_implementation", None)
    return ModelStatus(
        revision=revision,
        modalities=[modality for modality in model.modalities if isinstance(modality, str)],
        embedding_dimension=model.get_embedding_dimension(),
        attention=attention,
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
    )
