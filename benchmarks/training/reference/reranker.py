"""The published recipe for rerankers of images.

`python -m benchmarks.training.reference.reranker RECIPE FOLDER`, or the same under torchrun. As the documentation's
script, it trains a vision-language model, whose score is how sure it is of the answer "1", with BinaryCrossEntropyLoss
on labeled pairs. The evaluator, which holds its pages in memory, runs after every tenth of the steps, and so does a
checkpoint; at the end it runs once more. Nothing is pushed. Methods of the Trainer are timed from outside.
"""

import sys
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

from benchmarks.training.outcome import Outcome, RankRecord
from benchmarks.training.reference.shared import attention, load_rows, losses_of, schedule, time_trainer
from benchmarks.training.rerankers import RerankerRecipe
from benchmarks.training.stopwatch import BASELINE, EVALUATION, LOOP, SAVE

METRIC = "eval_ndcg@10"


def main(recipe: RerankerRecipe, folder: Path) -> None:
    """Train and evaluate; leave the model and what was measured in `folder`."""
    watch = time_trainer()
    model = load_model(recipe)
    train_rows = load_rows(recipe, recipe.train).select(range(recipe.rows))
    train_rows = train_rows.select_columns([recipe.query, recipe.positive, recipe.label])
    # With the default, ranks of a reranker end in the first step: its inputs are no dict that DDP looks into.
    arguments = CrossEncoderTrainingArguments(**schedule(recipe, folder), ddp_find_unused_parameters=False)
    evaluator = build_evaluator(recipe, load_rows(recipe, recipe.evaluation))
    with watch.phase(BASELINE):
        before = evaluator(model)
    trainer = CrossEncoderTrainer(
        model=model, args=arguments, train_dataset=train_rows, loss=BinaryCrossEntropyLoss(model), evaluator=evaluator
    )
    with watch.phase(LOOP):
        trainer.train()
    with watch.phase(EVALUATION):
        after = evaluator(model)
    with watch.phase(SAVE):
        model.save_pretrained(str(folder / "model"))
    RankRecord.of_this_process(watch).write(folder)
    if trainer.is_world_process_zero():
        Outcome(baseline=before[METRIC], final=after[METRIC], losses=losses_of(trainer)).write(folder)


def load_model(recipe: RerankerRecipe) -> CrossEncoder:
    """Return the base model, on a GPU with FlashAttention where it is installed."""
    return CrossEncoder(
        str(recipe.model),
        device=None if recipe.accelerator else "cpu",
        model_kwargs={"dtype": getattr(torch, recipe.dtype), **attention(recipe)},
        processor_kwargs=recipe.processor_kwargs,
    )


def build_evaluator(recipe: RerankerRecipe, rows: Dataset) -> CrossEncoderRerankingEvaluator:
    """Return an evaluator of the pages of each row."""
    samples = [
        {
            "query": row[recipe.query],
            "positive": [row[recipe.positive]],
            "negative": [row[column] for column in recipe.evaluation.negatives],
        }
        for row in rows
    ]
    return CrossEncoderRerankingEvaluator(samples, at_k=10, name="eval", show_progress_bar=True)


if __name__ == "__main__":
    main(RerankerRecipe.model_validate_json(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
