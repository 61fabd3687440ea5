"""The precision of the weights and the attention implementation that the spec states."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from finetune_api.model import Model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
META = torch.device("meta")


def precision_arguments(
    spec: Model, *, device: torch.device, computes_on: torch.device | None = None
) -> dict[str, Any]:
    """Return the arguments of from_pretrained for precision, attention and, on the meta device, no weights at all.

    Args:
        spec: that states them.
        device: that the model is loaded on.
        computes_on: what it is to compute on, where its weights come later.

    """
    place = {"device_map": "meta"} if device == META else {}
    return {"dtype": DTYPES[spec.dtype]} | _attention(spec, device=computes_on or device) | place


def _attention(spec: Model, *, device: torch.device) -> dict[str, str]:
    if device == META:
        # flash_attention_2 refuses to be loaded where there is no accelerator, where prepare looks for negatives, too.
        return {} if spec.attention in ("auto", "flash_attention_2") else {"attn_implementation": spec.attention}
    if spec.attention != "auto" and (device.type != "cpu" or spec.attention != "flash_attention_2"):
        return {"attn_implementation": spec.attention}
    if device.type == "cuda" and spec.dtype != "float32" and has_flash_attention():
        return {"attn_implementation": "flash_attention_2"}
    return {}


def has_flash_attention() -> bool:
    """Return whether flash_attention_2 is installed."""
    return find_spec("flash_attn") is not None


@contextmanager
def exact_products() -> Iterator[None]:
    """Let products of float32 matrices be float32 while inside: in tf32, which training may use, scores would tie."""
    matmul: Any = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


@contextmanager
def float32_scores(model: CrossEncoder) -> Iterator[None]:
    """Let the layer that makes the score compute in float32 while inside, whatever the others compute in.

    In bfloat16 a score of 8 or more moves in steps of 0.0625, so that many documents tie and ranks depend on the batch.
    """
    before = list(model.keep_in_fp32_modules or [])
    linear = [name for name, module in model.named_modules() if type(module) is torch.nn.Linear]
    model.set_keep_in_fp32_modules(before or linear[-1:])
    try:
        yield
    finally:
        model.set_keep_in_fp32_modules(before)
