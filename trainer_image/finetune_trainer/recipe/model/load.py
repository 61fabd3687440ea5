"""Loads the model as the spec says, and tells how it was loaded."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.status import ModelStatus
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.model.adapters import add_adapters
from finetune_trainer.recipe.model.encoders import load_encoder, load_reranker
from finetune_trainer.recipe.model.freezing import freeze
from finetune_trainer.recipe.model.part import parts_of
from finetune_trainer.recipe.model.prompts import set_prompts
from finetune_trainer.recipe.model.refusal import told_as
from finetune_trainer.recipe.model.router import load_router


def load_model(
    spec: Model, workspace: Workspace, *, device: torch.device, seed: int, computes_on: torch.device | None = None
) -> SentenceTransformer | CrossEncoder:
    """Return the model on `device`, from the folders that prepare filled, ready to be trained.

    On the meta device it has no weights; it is made for the device that it `computes_on` once it has some.

    It has the spec's modules, precision, attention, limits and prompts, adapters are added and parameters frozen.
    New layers are initialised from `seed`, the same on every rank; global random states stay as they are.

    Raises:
        RunFailure: the library cannot load it; prepare should have seen that.

    """
    with seeded(seed):
        model = build_model(spec, workspace, device=device, computes_on=computes_on)
        restrict(model, spec)
    return model


def build_model(
    spec: Model, workspace: Workspace, *, device: torch.device, computes_on: torch.device | None = None
) -> SentenceTransformer | CrossEncoder:
    """Return the model with all its weights trainable; on the meta device it has no weights."""
    parts = parts_of(spec, workspace, device=device, computes_on=computes_on)
    if spec.router is not None:
        model = load_router(parts, by_task=spec.router.by == "Task")
    elif spec.kind == "Reranker":
        model = load_reranker(parts[""])
    else:
        model = load_encoder(parts[""])
    if spec.max_seq_length is not None:
        with told_as("spec.model.maxSeqLength: this model has no such limit", reason=Reason.INVALID_ARGUMENT):
            model.max_seq_length = spec.max_seq_length
    if spec.similarity is not None:
        model.similarity_fn_name = spec.similarity.lower()
    set_prompts(model, spec.prompts)
    return model


def restrict(model: SentenceTransformer | CrossEncoder, spec: Model) -> None:
    """Leave only those parameters trainable that the spec wants to be trained."""
    if spec.lora is not None:
        with told_as("spec.model.lora: adapters cannot be added"):
            add_adapters(model, spec.lora)
    freeze(model, spec)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw what is new from `seed`; weights are made on the CPU, whatever device they end on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def autocast_dtype(spec: FinetuneJobSpec, *, device: torch.device) -> torch.dtype | None:
    """Return the precision of matrix products where it differs from the weights', else None.

    float16, which takes a loss that is scaled, is nobody's choice but the job's.
    """
    if spec.model.dtype != "float32" or device.type != "cuda":
        return None
    if spec.training.arguments.get("fp16"):
        return torch.float16
    return torch.bfloat16 if has_bfloat16() else None


def has_bfloat16() -> bool:
    """Return whether this process's accelerator computes in bfloat16; older ones only pretend to."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def without_bfloat16(spec: FinetuneJobSpec, *, device: torch.device) -> str | None:
    """Return a sentence if an accelerator without bfloat16 is slower than people expect; None if it is not."""
    if device.type != "cuda" or spec.model.dtype == "float16" or has_bfloat16():
        return None
    if autocast_dtype(spec, device=device) is not None:
        return None
    lacks = f"because {torch.cuda.get_device_name(device)} has no bfloat16"
    if spec.model.dtype == "bfloat16":
        return (
            f"spec.model.dtype: bfloat16 is emulated {lacks}, and many times slower; take an accelerator that has it, "
            "or float32 with spec.training.arguments.fp16: true"
        )
    return (
        f"spec.model.dtype: float32 is trained without autocast {lacks}; expect more time and memory, take an "
        "accelerator that has it, or set spec.training.arguments.fp16 to true"
    )


def describe(model: SentenceTransformer | CrossEncoder, *, revision: str | None) -> ModelStatus:
    """Return what was loaded and how it runs."""
    embeds = isinstance(model, SentenceTransformer)
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ModelStatus(
        revision=revision,
        modalities=modality_names(model),
        embedding_dimension=model.get_embedding_dimension() if embeds else None,
        attention=getattr(model.config, "_attn_implementation", None),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        parameters=sum(number for number, _ in counts),
        trainable_parameters=sum(number for number, trained in counts if trained),
    )


def modality_names(model: SentenceTransformer | CrossEncoder) -> list[str]:
    """Return what the model takes; several at once are joined as in `image+text`."""
    return [name if isinstance(name, str) else "+".join(name) for name in model.modalities]
