# ruff: noqa: ANN401 - torch's and the library's types are imported where a rank needs them
"""The libraries as they are, run inside a rank: what they do wrong is what our trainer replaces."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

SECRET = "hf_not_a_real_token"
#: How long ranks wait for each other, once all of them train, where they do so in vain; by default for half an hour.
GANG_LIMIT = timedelta(seconds=4)


def pages_of(root: Path, columns: Sequence[str]) -> Any:
    """Return rows of the prepared table as the library is usually given them: with decoded images, in this order."""
    import pyarrow.parquet as pq
    from datasets import Dataset, Image

    from finetune_api.workspace import Workspace
    from tests.trainer.train_inputs import as_files

    workspace = Workspace(root)
    cells = pq.read_table(workspace.train_table("pages")).to_pydict()
    files = as_files(workspace)
    cells["positive"] = [str(files[cell]) for cell in cells["positive"]]
    return Dataset.from_dict({name: cells[name] for name in columns}).cast_column("positive", Image())


def arguments_of(cls: Any, folder: Path, **settings: Any) -> Any:
    """Return training arguments of two steps on CPU."""
    defaults = {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    return cls(**defaults | settings)


def train_embedding(root: Path, folder: Path, columns: Sequence[str], loss: str, **settings: Any) -> dict[str, Any]:
    """Train the prepared model on the prepared pages; return each step's gradient norm on this rank, and any error."""
    import torch
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer import losses
    from transformers import TrainerCallback

    from finetune_api.workspace import Workspace

    model = SentenceTransformer(str(Workspace(root).base_model), device="cpu")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments_of(Arguments, folder / os.environ["RANK"], **settings),
        train_dataset=pages_of(root, columns),
        loss=getattr(losses, loss)(model),
    )
    norms: list[float] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            gradients = [one.grad.flatten() for one in model.parameters() if one.grad is not None]
            norms.append(float(torch.cat(gradients).norm()))

    trainer.add_callback(Keep())
    return {"error": error_of(trainer), "norms": norms, "files": files_of(folder / os.environ["RANK"])}


def train_reranker(root: Path, folder: Path) -> str | None:
    """Train the prepared reranker on texts; return the error."""
    from datasets import Dataset
    from sentence_transformers import CrossEncoderTrainer
    from sentence_transformers import CrossEncoderTrainingArguments as Arguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from torch import device

    from finetune_api.workspace import Workspace
    from finetune_trainer.recipe.model.load import load_model
    from tests.trainer.train_inputs import run_config
    from tests.trainer.trainers import VLM_RERANKER

    spec = run_config(model=VLM_RERANKER).spec.model
    model = load_model(spec, Workspace(root), device=device("cpu"), seed=0)
    cells = {"query": ["q"] * 8, "document": [f"d {n}" for n in range(8)], "label": [0.0, 1.0] * 4}
    arguments = arguments_of(Arguments, folder / os.environ["RANK"])
    rows, loss = Dataset.from_dict(cells), BinaryCrossEntropyLoss(model)
    return error_of(CrossEncoderTrainer(model=model, args=arguments, train_dataset=rows, loss=loss))


def train_gathering(
    model_folder: Path, folder: Path, trainings: Sequence[dict[str, dict[str, list[str]]]]
) -> list[str | None]:
    """Train on each choice of sets, with a loss that gathers the embeddings of all ranks; return the errors."""
    import torch
    from datasets import Dataset, DatasetDict
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    torch.distributed.init_process_group("gloo")
    errors = []
    for sets in trainings:
        model = SentenceTransformer(str(model_folder), device="cpu")
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments_of(Arguments, folder / os.environ["RANK"], max_steps=8),
            train_dataset=DatasetDict({name: Dataset.from_dict(cells) for name, cells in sets.items()}),
            loss=MultipleNegativesRankingLoss(model, gather_across_devices=True),
        )
        begin_together()
        errors.append(error_of(trainer))
    return errors


def train_in_small_steps(model_folder: Path, folder: Path, cells: dict[str, list[str]]) -> float:
    """Train 20 steps at a small learning rate; return the share of the layers' weights that are as they were."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(str(model_folder), device="cpu")
    before = weights_of_layers(model)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments_of(Arguments, folder, max_steps=20, per_device_train_batch_size=4, learning_rate=5e-6),
        train_dataset=Dataset.from_dict(cells),
        loss=MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    return float((weights_of_layers(model) == before).float().mean())


def train_and_resume(model_folder: Path, folder: Path, cells: dict[str, list[str]]) -> str | None:
    """Train two steps, cut the newer of the two checkpoints short and resume; return the error."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(str(model_folder), device="cpu")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments_of(Arguments, folder, save_strategy="steps", save_steps=1),
        train_dataset=Dataset.from_dict(cells),
        loss=MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    weights = folder / "checkpoint-2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])  # as a killed writer leaves it
    try:
        trainer.train(resume_from_checkpoint=True)
    except Exception as error:  # noqa: BLE001 - which it is, is what is asked
        return f"{type(error).__name__}: {error}"
    return None


def weights_of_layers(model: Any) -> Any:
    """Return a copy of the matrices that every input goes through."""
    import torch

    matrices = [one for name, one in model.named_parameters() if ".layer." in name and one.ndim > 1]
    return torch.cat([one.detach().flatten() for one in matrices])


def train_with_a_signal_to_one_rank(model_folder: Path, folder: Path, cells: dict[str, list[str]]) -> dict[str, Any]:
    """Train with checkpoints on SIGTERM, which rank 1 gets in its second step; return how this rank ended.

    The library waits for seconds before it heeds the signal: here it does not.
    """
    import signal

    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback
    from transformers.trainer_jit_checkpoint import CheckpointManager

    class Signal(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *given: Any, **_: Any) -> None:
            _, state, _ = given
            if os.environ["RANK"] == "1" and state.global_step == 1:
                signal.raise_signal(signal.SIGTERM)

    CheckpointManager._sigterm_handler = lambda self, *_: self._enable_checkpoint()
    torch.distributed.init_process_group("gloo")
    settings = {"max_steps": 4, "enable_jit_checkpoint": True}
    model = SentenceTransformer(str(model_folder), device="cpu")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments_of(Arguments, folder / os.environ["RANK"], **settings),
        train_dataset=Dataset.from_dict(cells),
        loss=MultipleNegativesRankingLoss(model),
        callbacks=[Signal()],
    )
    begin_together()
    error = error_of(trainer)
    return {"error": error, "step": trainer.state.global_step, "files": files_of(folder / os.environ["RANK"])}


def begin_together() -> None:
    """Let ranks wait for each other for seconds alone, from when the slowest one has loaded what it trains."""
    import torch

    torch.distributed.barrier()
    torch.distributed.set_timeout(GANG_LIMIT)


def error_of(trainer: Any) -> str | None:
    """Train; return what was raised."""
    try:
        trainer.train()
    except RuntimeError as error:
        return str(error)
    return None


def files_of(folder: Path) -> list[str]:
    """Return the files below `folder`."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def evaluate_every_dimension(root: Path, dimensions: Sequence[int]) -> int:
    """Evaluate outside training, as scripts do before and after it; return the texts that this rank encoded."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from finetune_api.workspace import Workspace

    torch.distributed.init_process_group("gloo")
    model = SentenceTransformer(str(Workspace(root).base_model), device="cpu")
    encoded = 0
    preprocess = model.preprocess

    def preprocess_and_count(inputs: list[Any], **settings: Any) -> Any:
        nonlocal encoded
        encoded += len(inputs)
        return preprocess(inputs, **settings)

    model.preprocess = preprocess_and_count
    texts = {str(number): f"text number {number}" for number in range(4)}
    for dimension in dimensions:
        InformationRetrievalEvaluator(texts, texts, {name: {name} for name in texts}, truncate_dim=dimension)(model)
    return encoded
