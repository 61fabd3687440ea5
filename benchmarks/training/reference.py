"""The published recipe for visual document retrieval, as people write it: one script and the library, nothing else.

`python -m benchmarks.training.reference RECIPE FOLDER`, or the same under torchrun. It does what the documentation's
script does, in its order and with its settings: the model is trained with CachedMultipleNegativesRankingLoss of
mini-batch 1 inside MatryoshkaLoss, on batches without duplicates; the evaluation pages are held in memory; evaluator
and evaluation loss run after every tenth of the steps, and so does a checkpoint; at the end the evaluator runs once
more as a whole and once per dimension. Nothing is pushed. Methods of the Trainer are timed from outside.
"""

import sys
from pathlib import Path

import torch
from datasets import Dataset, load_dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MatryoshkaLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from transformers import Trainer
from transformers.utils import is_flash_attn_2_available

from benchmarks.training.outcome import Outcome, RankRecord
from benchmarks.training.recipe import Recipe, Table
from benchmarks.training.stopwatch import BASELINE, DATA_WAIT, EVALUATION, LOOP, SAVE, STEP, Stopwatch

METRIC = "eval_cosine_ndcg@10"


def main(recipe: Recipe, folder: Path) -> None:
    """Train and evaluate; leave the model and what was measured in `folder`."""
    watch = time_trainer()
    world_size = RankRecord.world_size()
    model = load_model(recipe)
    train_rows = load_rows(recipe, recipe.train).select(range(recipe.rows))
    train_rows = train_rows.select_columns([recipe.query, recipe.positive, *recipe.train.negatives])
    held_out = load_rows(recipe, recipe.evaluation)
    loss = MatryoshkaLoss(
        model, CachedMultipleNegativesRankingLoss(model, mini_batch_size=1), matryoshka_dims=list(recipe.dimensions)
    )
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=1,
        per_device_train_batch_size=recipe.batch_size // world_size,
        per_device_eval_batch_size=64,
        learning_rate=recipe.learning_rate,
        warmup_ratio=recipe.warmup_ratio,
        bf16=recipe.accelerator,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        eval_strategy="steps",
        eval_steps=0.1,
        save_strategy="steps",
        save_steps=0.1,
        save_total_limit=2,
        logging_steps=0.05,
        seed=recipe.seed,
        use_cpu=not recipe.accelerator,
    )
    pages = Pages(recipe, held_out)
    evaluator = pages.evaluator()
    with watch.phase(BASELINE):
        before = evaluator(model)
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=train_rows, eval_dataset=held_out, loss=loss, evaluator=evaluator
    )
    with watch.phase(LOOP):
        trainer.train()
    with watch.phase(EVALUATION):
        after = evaluator(model)
        by_dimension = {size: pages.evaluator(size)(model)["eval_cosine_ndcg@10"] for size in recipe.dimensions}
    with watch.phase(SAVE):
        model.save_pretrained(str(folder / "model"))
    RankRecord.of_this_process(watch).write(folder)
    if trainer.is_world_process_zero():
        losses = {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
        Outcome(baseline=before[METRIC], final=after[METRIC], dimensions=by_dimension, losses=losses).write(folder)


def time_trainer() -> Stopwatch:
    """Return a stopwatch on the parts of the Trainer's loop."""
    watch = Stopwatch()
    watch.time_method(Trainer, "get_batch_samples", DATA_WAIT)
    watch.time_method(Trainer, "training_step", STEP)
    watch.time_method(Trainer, "evaluate", EVALUATION)
    watch.time_method(Trainer, "_save_checkpoint", SAVE)
    return watch


def load_model(recipe: Recipe) -> SentenceTransformer:
    """Return the base model, on a GPU with FlashAttention where it is installed."""
    fast = recipe.accelerator and is_flash_attn_2_available()
    attention = {"attn_implementation": "flash_attention_2"} if fast else {}
    return SentenceTransformer(
        str(recipe.model),
        device=None if recipe.accelerator else "cpu",
        model_kwargs={"dtype": getattr(torch, recipe.dtype), **attention},
        processor_kwargs=recipe.processor_kwargs,
    )


def load_rows(recipe: Recipe, table: Table) -> Dataset:
    """Return the split, images decoded when a row is read."""
    return load_dataset(str(recipe.dataset), table.subset, split=table.split)


class Pages:
    """Queries and all pages of the evaluation rows: positives first, then one block per column of negatives."""

    def __init__(self, recipe: Recipe, rows: Dataset) -> None:
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
            batch_size=1,
            show_progress_bar=True,
            name="eval",
        )


if __name__ == "__main__":
    main(Recipe.model_validate_json(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]))
