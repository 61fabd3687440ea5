"""Training arguments for Hugging Face's Trainer, all that differ from its defaults in one place."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from sentence_transformers import CrossEncoderTrainingArguments, SentenceTransformerTrainingArguments
from sentence_transformers.base.training_args import BaseTrainingArguments

from finetune_api.losses import Kind
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.arguments.rules import RENAMED
from finetune_trainer.recipe.batches.schedule import Schedule
from finetune_trainer.recipe.model.router import router_mapping
from finetune_trainer.workspace.manifest import Column, PreparedTrain

MAX_LOADER_WORKERS = 8
CLASSES: Mapping[Kind, type[BaseTrainingArguments]] = {
    "Embedding": SentenceTransformerTrainingArguments,
    "Reranker": CrossEncoderTrainingArguments,
}
#: What the library takes for data loader processes only, of which there are none on CPU by default.
_OF_LOADER_PROCESSES = frozenset({"dataloader_persistent_workers", "dataloader_prefetch_factor"})


def training_arguments(  # noqa: PLR0913 - each is a part of its own
    spec: FinetuneJobSpec,
    workspace: Workspace,
    *,
    schedule: Schedule,
    sets: Sequence[PreparedTrain],
    prompts: Mapping[str, str],
    device: torch.device,
    autocast: torch.dtype | None,
) -> BaseTrainingArguments:
    """Return the arguments. Evaluating, saving and logging are the Pacer's part, so the Trainer does none of them.

    Args:
        spec: of the job; prepare/checks/arguments.py has seen its arguments.
        workspace: gives the Trainer an output folder, in which it writes nothing.
        schedule: of this training.
        sets: that are trained on.
        prompts: by role, query and document.
        device: of this rank.
        autocast: precision of matrix products, or None for that of the weights.

    """
    training, kind = spec.training, spec.model.kind
    return CLASSES[kind](
        **passed_arguments(training.arguments, device=device),
        output_dir=str(workspace.train),
        max_steps=schedule.total_steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=training.learning_rate,
        learning_rate_mapping=dict(training.learning_rates),
        warmup_steps=schedule.warmup_steps,
        seed=training.seed,
        prompts=prompts_for(sets, prompts, kind=kind),
        router_mapping=_by_set({one.name: router_mapping(spec.model, one.columns) for one in sets}),
        use_cpu=device.type == "cpu",
        bf16=autocast is torch.bfloat16,
        fp16=autocast is torch.float16,
        ddp_timeout=spec.rank_patience_seconds,
        dataloader_drop_last=True,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        push_to_hub=False,
        disable_tqdm=not sys.stderr.isatty(),
    )


def passed_arguments(given: Mapping[str, Any], *, device: torch.device) -> dict[str, Any]:
    """Return what the job may say about training arguments, with our defaults; old names become new ones."""
    stated = {RENAMED.get(name, name): value for name, value in given.items()}
    stated.pop("fp16", None)  # autocast_dtype has seen it
    if device.type == "cpu":
        stated.pop("tf32", None)  # has no meaning there, and the library refuses it
    workers = max(loader_workers(device), 1 if _OF_LOADER_PROCESSES & stated.keys() else 0)
    return {"dataloader_num_workers": workers, "dataloader_pin_memory": device.type == "cuda", **stated}


def prompts_for(sets: Sequence[PreparedTrain], prompts: Mapping[str, str], *, kind: Kind) -> Any:  # noqa: ANN401 - as below
    """Return prompts as the library's collators take them: by column, and by set before that where there are several.

    A reranker has one for the pair, or none.
    """
    if kind == "Reranker":
        return prompts["query"] or None
    return _by_set({one.name: _by_column(one.columns, prompts) for one in sets})


def _by_column(columns: Sequence[Column], prompts: Mapping[str, str]) -> dict[str, str]:
    by_column = {column.name: prompts["query" if column.name == "query" else "document"] for column in columns}
    return {name: prompt for name, prompt in by_column.items() if prompt}


def _by_set(mappings: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    """Return the only mapping, or one per set; empty if all are."""
    if len(mappings) == 1:
        return next(iter(mappings.values()))
    return dict(mappings) if any(mappings.values()) else {}


def loader_workers(device: torch.device) -> int:
    """Return the data loader's processes: on an accelerator as many as the rank has threads, within reason."""
    if device.type == "cpu":
        return 0
    return min(MAX_LOADER_WORKERS, max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
