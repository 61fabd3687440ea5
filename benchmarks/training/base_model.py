"""The small scale's base model: a tiny Qwen3-VL that has seen small pages, so that finetuning refines what it knows."""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, Value
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from examples.inputs.page_drawing import Page, draw_page, encode_png
from examples.inputs.pages import build_questions, split_pages
from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl

STEPS = 80
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
PAGE_PIXELS = (128, 192)
"""Smaller than what the processor makes of an A4 page, so that something is left to learn."""


def build_base_model(folder: Path, *, held_out: int) -> None:
    """Write the model; it has seen none of the held-out combinations."""
    pages = split_pages(num_held_out=held_out).train
    rng = random.Random(3)
    questions = [question for page in pages for question in build_questions(page)]
    build_tiny_qwen3_vl(folder, sentences=questions)
    seen = [rng.choice(pages) for _ in range(STEPS * BATCH_SIZE // 4)]
    rows = draw_rows(seen, rng=rng, pixels=PAGE_PIXELS)
    model = SentenceTransformer(str(folder), device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        schedule = steps_on_cpu(scratch, steps=STEPS, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE)
        arguments = SentenceTransformerTrainingArguments(**schedule)
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
        ).train()
    model.save_pretrained(str(folder), create_model_card=False)


def draw_rows(pages: Sequence[Page], *, rng: random.Random, pixels: tuple[int, int]) -> Dataset:
    """Return a question about each page, and the page drawn in this size."""
    columns = {
        "query": [rng.choice(build_questions(page)) for page in pages],
        "image": [{"bytes": encode_png(draw_page(page, rng=rng).resize(pixels)), "path": None} for page in pages],
    }
    return Dataset.from_dict(columns, features=Features({"query": Value("string"), "image": Image()}))


def steps_on_cpu(folder: str, *, steps: int, batch_size: int, learning_rate: float) -> dict[str, Any]:
    """Return the arguments of a training that leaves nothing but the model in memory."""
    return {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup_steps": 8,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
