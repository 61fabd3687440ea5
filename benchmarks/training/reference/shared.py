"""What the scripts have in common: their rows, their schedule, and a stopwatch on the Trainer's methods."""

from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from transformers import Trainer
from transformers.utils import is_flash_attn_2_available

from benchmarks.training.outcome import RankRecord
from benchmarks.training.recipe import Recipe, Table
from benchmarks.training.stopwatch import DATA_WAIT, EVALUATION, SAVE, STEP, Stopwatch


def time_trainer() -> Stopwatch:
    """Return a stopwatch on the parts of the Trainer's loop."""
    watch = Stopwatch()
    watch.time_method(Trainer, "get_batch_samples", DATA_WAIT)
    watch.time_method(Trainer, "training_step", STEP)
    watch.time_method(Trainer, "evaluate", EVALUATION)
    watch.time_method(Trainer, "_save_checkpoint", SAVE)
    return watch


def load_rows(recipe: Recipe, table: Table) -> Dataset:
    """Return the split, images decoded when a row is read."""
    return load_dataset(str(recipe.dataset), table.subset, split=table.split)


def schedule(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Return the training arguments of one epoch, with an evaluation and a checkpoint after every tenth of it."""
    return {
        "output_dir": str(folder / "checkpoints"),
        "num_train_epochs": 1,
        "per_device_train_batch_size": recipe.batch_size // RankRecord.world_size(),
        "per_device_eval_batch_size": 64,
        "learning_rate": recipe.learning_rate,
        "warmup_ratio": recipe.warmup_ratio,
        "bf16": recipe.accelerator,
        "eval_strategy": "steps",
        "eval_steps": 0.1,
        "save_strategy": "steps",
        "save_steps": 0.1,
        "save_total_limit": 2,
        "logging_steps": 0.05,
        "seed": recipe.seed,
        "use_cpu": not recipe.accelerator,
    }


def attention(recipe: Recipe) -> dict[str, str]:
    """Return the model's argument for FlashAttention, on a GPU where it is installed."""
    fast = recipe.accelerator and is_flash_attn_2_available()
    return {"attn_implementation": "flash_attention_2"} if fast else {}


def losses_of(trainer: Trainer) -> dict[int, float]:
    """Return the losses that were logged, by step."""
    return {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
