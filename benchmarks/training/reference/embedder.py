"""The published recipe for visual document retrieval.

`python -m benchmarks.training.reference.embedder RECIPE FOLDER`, or the same under torchrun. It does what the
documentation's script does, in its order and with its settings: the model is trained with
CachedMultipleNegativesRankingLoss of mini-batch 1 inside MatryoshkaLoss, on batches without duplicates; the evaluation
pages are held in memory; evaluator and evaluation loss run after every tenth of the steps, and so does a checkpoint; at
the end the evaluator runs once more as a whole and once per dimension. Nothing is pushed. Methods of the Trainer are
timed from outside. What an expert would write differently is in the recipe's `writing`.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MatryoshkaLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers

from benchmarks.training.embedders import EmbedderRecipe
from benchmarks.training.outcome import Outcome, RankRecord
from benchmarks.training.reference.shared import attention, load_rows, losses_of, schedule, time_trainer
from benchmarks.training.stopwatch import BASELINE, EVALUATION, LOOP, SAVE

METRIC = "eval_cosine_ndcg@10"


def main(recipe: EmbedderRecipe, folder: Path) -> None:
    """Train and evaluate; leave the model and what was measured in `folder`."""
    watch = time_trainer()
    model = load_model(recipe)
    held_out = load_rows(recipe, recipe.evaluation)
    pages = Pages(recipe, held_out)
    evaluator = pages.evaluator()
    with watch.phase(BASELINE):
        before = evaluator(model)
    eval_dataset = held_out if recipe.writing.evaluation_loss else None
    trainer = build_trainer(recipe, model, schedule(recipe, folder), eval_dataset=eval_dataset, evaluator=evaluator)
    with watch.phase(LOOP):
        trainer.train()
    with watch.phase(EVALUATION):
        after = evaluator(model)
        by_dimension = {size: pages.evaluator(size)(model)["eval_cosine_ndcg@10"] for size in recipe.dimensions}
    with watch.phase(SAVE):
        model.save_pretrained(str(folder / "model"))
    RankRecord.of_this_process(watch).write(folder)
    if trainer.is_world_process_zero():
        Outcome(baseline=before[METRIC], final=after[METRIC], dimensions=by_dimension, losses=losses_of(trainer)).write(
            folder
        )


def load_model(recipe: EmbedderRecipe) -> SentenceTransformer:
    """Return the base model, on a GPU with FlashAttention where it is installed."""
    return SentenceTransformer(
        str(recipe.model),
        device=None if recipe.accelerator else "cpu",
        model_kwargs={"dtype": getattr(torch, recipe.dtype), **attention(recipe)},
        processor_kwargs=recipe.processor_kwargs,
    )


def build_trainer(
    recipe: EmbedderRecipe,
    model: SentenceTransformer,
    arguments: dict[str, Any],
    **evaluation: Any,  # noqa: ANN401 - the library's
) -> SentenceTransformerTrainer:
    """Return the library's trainer of the training rows."""
    rows = load_rows(recipe, recipe.train).select(range(recipe.rows))
    cached = CachedMultipleNegativesRankingLoss(model, mini_batch_size=recipe.writing.mini_batch_size)
    return SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**arguments, batch_sampler=BatchSamplers.NO_DUPLICATES),
        train_dataset=rows.select_columns([recipe.query, recipe.positive, *recipe.train.negatives]),
        loss=MatryoshkaLoss(model, cached, matryoshka_dims=list(recipe.dimensions)),
        **evaluation,
    )


class Pages:
    """Queries and all pages of the evaluation rows: positives first, then one block per column of negatives."""

    def __init__(self, recipe: EmbedderRecipe, rows: Dataset) -> None:
        self.batch_size = recipe.writing.evaluation_batch_size
        self.queries = {number: row[recipe.query] for number, row in enumerate(rows)}
        self.corpus = {number: row[recipe.positive] for number, row in enumerate(rows)}
        for block, column in enumerate(recipe.evaluation.negatives, start=1):
            for number, row in enumerate(rows):
                self.corpus[block * len(rows) + number] = row[column]
        self.relevant = {number: [number] for number in range(len(rows))}

    def evaluator(self, dimension: int | None = None) -> InformationRetrievalEvaluator:
        """Return an evaluator of whole or cut embeddings."""
        return InformationRetrievalEvaluator(
            queries=self.queries,
            corpus=self.corpus,
            relevant_docs=self.relevant,
            truncate_dim=dimension,
            batch_size=self.batch_size,
            show_progress_bar=True,
            name="eval",
        )


if __name__ == "__main__":
    main(EmbedderRecipe.model_validate_json(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
