"""A Vision Transformer of one and a half million parameters for images of pages, built in place from nothing.

It has no text side: beside a text encoder, in a Router, it becomes the image tower of a search for pages.
"""

from pathlib import Path

import torch
from transformers import ViTConfig, ViTImageProcessor, ViTModel

HIDDEN_SIZE = 192
PAGE_PIXELS = (160, 128)
"""Height and width to which pages are resized."""
PATCH_PIXELS = 32

MODEL_CARD = """\
---
library_name: transformers
pipeline_tag: image-feature-extraction
license: apache-2.0
---

# Tiny ViT

A Vision Transformer at one and a half million parameters, untrained, for tests and demonstrations of finetuning.
"""


def build(folder: Path) -> None:
    """Write the image tower of the router example."""
    build_tiny_vit(folder)


def build_tiny_vit(folder: Path, *, num_layers: int = 2, seed: int = 0) -> None:
    """Write an untrained Vision Transformer as its makers would publish it, without a pooling layer.

    Equal arguments give equal bytes.

    Args:
        folder: made if missing; files of an earlier build are overwritten.
        num_layers: of the encoder.
        seed: of the weights; the global generator of torch is left as it was.

    """
    height, width = PAGE_PIXELS
    config = ViTConfig(
        hidden_size=HIDDEN_SIZE,
        intermediate_size=4 * HIDDEN_SIZE,
        num_hidden_layers=num_layers,
        num_attention_heads=3,
        image_size=(height, width),
        patch_size=PATCH_PIXELS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    # Pages are mostly white: with these the pixels of a page have mean 0 and deviation 1, about.
    processor = ViTImageProcessor(size={"height": height, "width": width}, image_mean=[0.9] * 3, image_std=[0.2] * 3)
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(MODEL_CARD)
