"""Training arguments for Hugging Face's Trainer, all that differ from its defaults in one place."""

import os
import sys

import torch
from sentence_transformers import SentenceTransformerTrainingArguments

from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.data.manifest import Column
from finetune_trainer.training.schedule import Schedule

MAX_LOADER_WORKERS = 8


def training_arguments(  # noqa: PLR0913 - each is a part of its own
    spec: FinetuneJobSpec,
    workspace: Workspace,
    *,
    schedule: Schedule,
    columns: list[Column],
    prompts: dict[str, str],
    device: torch.device,
    autocast: torch.dtype | None,
) -> SentenceTransformerTrainingArguments:
    """Return the arguments. Evaluating, saving and logging are the Pacer's part, so the Trainer does none of them.

    Args:
        spec: of the job.
        workspace: gives the Trainer an output folder, in which it writes nothing.
        schedule: of this training.
        columns: of the training table.
        prompts: by role, query and document.
        device: of this rank.
        autocast: precision of matrix products, or None for that of the weights.

    """
    by_column = {column.name: prompts["query" if column.name == "query" else "document"] for column in columns}
    return SentenceTransformerTrainingArguments(
        output_dir=str(workspace.train),
        max_steps=schedule.total_steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=spec.training.learning_rate,
        warmup_steps=schedule.warmup_steps,
        seed=spec.training.seed,
        prompts={name: prompt for name, prompt in by_column.items() if prompt},
        use_cpu=device.type == "cpu",
        bf16=autocast is torch.bfloat16,
        ddp_backend="gloo" if device.type == "cpu" else "nccl",
        ddp_find_unused_parameters=finds_unused_parameters(spec.training.loss.name, columns),
        ddp_timeout=spec.stall_timeout_seconds,
        dataloader_num_workers=loader_workers(device),
        dataloader_drop_last=True,
        dataloader_pin_memory=device.type == "cuda",
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        push_to_hub=False,
        disable_tqdm=not sys.stderr.isatty(),
    )


def finds_unused_parameters(loss: str, columns: list[Column]) -> bool:
    """Return whether DDP looks for parameters without gradient in each forward pass.

    The cached losses need it: they forward every column twice, most of it without gradients. A plain loss over mixed
    modalities must not have it: a column that leaves the vision tower aside would make DDP take the tower for unused
    although its gradient is still to come ("marked ready only once").
    """
    return loss.startswith("Cached") or len({column.modality for column in columns}) == 1


def loader_workers(device: torch.device) -> int:
    """Return the data loader's processes: on an accelerator as many as the rank has threads, within reason."""
    if device.type == "cpu":
        return 0
    return min(MAX_LOADER_WORKERS, max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
