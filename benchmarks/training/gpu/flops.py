"""Floating point operations of a Qwen3-VL, by arithmetic: what model FLOPs utilisation (MFU) counts.

Those of matrix products alone, of forward and backward, which takes twice as many; nothing that is computed again
counts, and attention counts whole, as in the paper on PaLM (arXiv 2204.02311, appendix B).
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.training.meter import Fed

#: Dense bfloat16 operations a second, as the vendors' datasheets say; by what the name of a device holds.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "B200": 2250e12}


def training_flops(fed: Fed, config: Mapping[str, Any]) -> float:
    """Return the operations of a step through a model of this configuration."""
    return 3 * forward_flops(fed, config)


def forward_flops(fed: Fed, config: Mapping[str, Any]) -> float:
    """Return the operations of embedding, layer by layer: two for each weight and what goes through it."""
    text, vision = config["text_config"], config["vision_config"]
    width, heads = text["hidden_size"], text["num_attention_heads"] * text["head_dim"]
    keys = text["num_key_value_heads"] * text["head_dim"]
    layer = width * (2 * heads + 2 * keys) + 3 * width * text["intermediate_size"]
    decoder = text["num_hidden_layers"] * (2 * layer * fed.tokens + 4 * heads * fed.token_pairs)

    size, merged = vision["hidden_size"], vision["spatial_merge_size"] ** 2
    block = 4 * size**2 + 2 * size * vision["intermediate_size"]
    tower = vision["depth"] * (2 * block * fed.patches + 4 * size * fed.patch_pairs)
    embedding = 3 * vision["temporal_patch_size"] * vision["patch_size"] ** 2 * size
    merger = merged * size * (merged * size + vision["out_hidden_size"])
    mergers = (1 + len(vision["deepstack_visual_indexes"])) * 2 * merger * fed.patches / merged
    return float(decoder + tower + 2 * embedding * fed.patches + mergers)


def peak_flops(device: str) -> float | None:
    """Return what a device of this name reaches at most, or None if that is not known here."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)
