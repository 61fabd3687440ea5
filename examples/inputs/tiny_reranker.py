"""The tiny Qwen3-VL with its language model head, untrained: what the reranker example is made from."""

from pathlib import Path

from .pages import build_questions, split_pages
from .tiny_qwen3_vl import build_tiny_qwen3_vl_checkpoint

ROLES = ("query", "document", "assistant")
"""What the chat template writes around the halves of a pair."""

MODEL_CARD = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
license: apache-2.0
---

# Tiny Qwen3-VL, generative

The architecture of Qwen3-VL at half a million parameters, untrained, for tests and demonstrations of finetuning. Its
tokenizer knows the words of questions about pages.
"""


def build(folder: Path) -> None:
    """Write the model of the reranker example; of the questions, its tokenizer knows those for training."""
    questions = [question for page in split_pages().train for question in build_questions(page)]
    build_tiny_qwen3_vl_checkpoint(folder, sentences=[*questions, *ROLES * len(questions)])
    (folder / "README.md").write_text(MODEL_CARD)
