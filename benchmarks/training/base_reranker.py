"""The rerankers' base model: a tiny generative Qwen3-VL that has judged small pages, so that finetuning refines it."""

import random
import tempfile
from pathlib import Path

from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import MultipleNegativesRankingLoss
from sentence_transformers.cross_encoder.modules import LogitScore

from benchmarks.training.base_model import draw_rows, steps_on_cpu
from examples.inputs.page_drawing import HEIGHT, WIDTH
from examples.inputs.pages import build_questions, split_pages
from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl_checkpoint
from examples.inputs.tiny_reranker import ROLES

STEPS = 400
BATCH_SIZE = 8
LEARNING_RATE = 6e-4
NEGATIVES = 3


def build_base_reranker(folder: Path, *, held_out: int) -> None:
    """Write the model; it has seen none of the held-out combinations."""
    pages = split_pages(num_held_out=held_out).train
    rng = random.Random(3)
    questions = [question for page in pages for question in build_questions(page)]
    seen = [rng.choice(pages) for _ in range(STEPS * BATCH_SIZE)]
    rows = draw_rows(seen, rng=rng, pixels=(WIDTH, HEIGHT))
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "checkpoint"
        build_tiny_qwen3_vl_checkpoint(checkpoint, sentences=[*questions, *ROLES * len(questions)])
        transformer = Transformer(
            str(checkpoint),
            transformer_task="any-to-any",
            processing_kwargs={"chat_template": {"add_generation_prompt": True}},
        )
        yes, no = transformer.tokenizer.convert_tokens_to_ids(["1", "0"])
        model = CrossEncoder(modules=[transformer, LogitScore(yes, no)], device="cpu")
        schedule = steps_on_cpu(scratch, steps=STEPS, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE)
        arguments = CrossEncoderTrainingArguments(**schedule)
        loss = MultipleNegativesRankingLoss(model, num_negatives=NEGATIVES)
        CrossEncoderTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    model.save_pretrained(str(folder), create_model_card=False)
