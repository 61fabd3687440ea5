# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""What the Trainer is told to do, and that it does it."""

from pathlib import Path
from typing import Any

import pytest

from finetune_api.workspace import Workspace
from finetune_trainer.workspace.manifest import Column, PreparedTrain
from tests.trainer.train_inputs import run_config

TEXTS = [Column(name="query", modality="text"), Column(name="positive", modality="text")]
PAIRS = [Column(name="query", modality="text"), Column(name="document", modality="image")]
PROMPTS = {"query": "find: ", "document": ""}


def arguments_for(*sets: PreparedTrain, device: str = "cpu", prompts: dict[str, str] = PROMPTS, **sections: Any) -> Any:
    """Return the library's object for a job with these parts."""
    import torch

    from finetune_trainer.recipe.arguments.training import training_arguments
    from finetune_trainer.recipe.batches.schedule import plan

    spec = run_config(**sections).spec
    return training_arguments(
        spec,
        Workspace(Path("unused")),
        schedule=plan(spec, batch_size=4, batches_per_epoch=10),
        sets=sets or (a_set("pages", TEXTS),),
        prompts=prompts,
        device=torch.device(device),
        autocast=None,
    )


def a_set(name: str, columns: list[Column]) -> PreparedTrain:
    return PreparedTrain(name=name, columns=columns, rows=40)


def values(arguments: Any, names: dict[str, Any]) -> dict[str, Any]:
    """Return what the object has under these names."""
    return {name: getattr(arguments, name) for name in names}


@pytest.mark.parametrize("kind", ["Embedding", "Reranker"])
def test_what_a_job_states_reaches_the_trainer(kind: str) -> None:
    from sentence_transformers import CrossEncoderTrainingArguments, SentenceTransformerTrainingArguments

    stated = {
        "weight_decay": 0.02,
        "optim": "adafactor",
        "lr_scheduler_type": "cosine",
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "max_grad_norm": 0.5,
        "adam_beta2": 0.95,
        "gradient_accumulation_steps": 5,
        "activation_checkpointing": True,
        "dataloader_num_workers": 3,
    }
    training = {"arguments": stated, "learningRate": 3e-5, "learningRates": {"pooler": 1e-3}, "numTrainEpochs": 10}

    arguments = arguments_for(model={"kind": kind, "source": "hf://acme/model"}, training=training)

    assert type(arguments) is (
        SentenceTransformerTrainingArguments if kind == "Embedding" else CrossEncoderTrainingArguments
    )
    ours = {
        "learning_rate": 3e-5,
        "learning_rate_mapping": {"pooler": 1e-3},
        "per_device_train_batch_size": 4,
        "max_steps": 20,
        "warmup_steps": 2,
        "seed": 42,
    }
    assert values(arguments, stated | ours) == stated | ours


def test_evaluating_saving_and_logging_are_left_to_the_pacer() -> None:
    arguments = arguments_for()

    off = {
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "push_to_hub": False,
        "load_best_model_at_end": False,
        "logging_nan_inf_filter": False,
        "dataloader_drop_last": True,
    }
    assert values(arguments, off) == off


def test_old_names_of_activation_checkpointing_are_taken_as_new_ones() -> None:
    old = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}

    arguments = arguments_for(training={"arguments": old})

    new = {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": False}}
    assert values(arguments, new) == new


def test_loader_processes_depend_on_the_device_unless_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    prefetching = {"arguments": {"dataloader_prefetch_factor": 2}}

    assert arguments_for().dataloader_num_workers == 0
    assert arguments_for(device="cuda").dataloader_num_workers == 6
    assert arguments_for(training={"arguments": {"dataloader_num_workers": 2}}).dataloader_num_workers == 2
    assert arguments_for(training=prefetching).dataloader_num_workers == 1


def test_tf32_means_nothing_on_a_cpu() -> None:
    assert arguments_for(training={"arguments": {"tf32": True}}).tf32 is None


def test_columns_have_the_prompt_of_their_role() -> None:
    one, two = a_set("pages", TEXTS), a_set("pairs", PAIRS)
    prompts = {"query": "find: ", "document": "page: "}

    assert arguments_for(one, prompts=prompts).prompts == {"query": "find: ", "positive": "page: "}
    assert arguments_for(one, prompts={"query": "", "document": ""}).prompts == {}
    assert arguments_for(one, two, prompts=prompts).prompts == {
        "pages": {"query": "find: ", "positive": "page: "},
        "pairs": {"query": "find: ", "document": "page: "},
    }


def test_a_reranker_has_one_prompt_for_the_pair() -> None:
    reranker = {"kind": "Reranker", "source": "hf://acme/model"}
    silent = {"query": "", "document": ""}

    assert arguments_for(a_set("pairs", PAIRS), model=reranker).prompts == "find: "
    assert arguments_for(a_set("pairs", PAIRS), model=reranker, prompts=silent).prompts is None


def test_a_router_is_told_the_route_of_each_column_of_each_set() -> None:
    routes = {"text": {"source": "hf://acme/bert"}, "image": {"source": "hf://acme/vit"}}
    router = {"router": {"by": "Modality", "routes": routes}}
    one, two = a_set("pages", TEXTS), a_set("pairs", PAIRS)

    assert arguments_for(two, model=router).router_mapping == {"query": "text", "document": "image"}
    assert arguments_for(one, two, model=router).router_mapping == {
        "pages": {"query": "text", "positive": "text"},
        "pairs": {"query": "text", "document": "image"},
    }
    assert arguments_for(one, two).router_mapping == {}


def test_optimizer_schedule_clipping_and_rates_are_those_of_the_job(loss_models: Workspace, tmp_path: Path) -> None:
    from finetune_trainer.train.gang.ranks import Ranks
    from tests.trainer.loss_cases import cases, prepare_case
    from tests.trainer.trainers import open_session, open_trainer

    stated = {
        "optim": "adamw_torch",
        "adam_beta2": 0.9,
        "weight_decay": 0.5,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.01,
        "gradient_accumulation_steps": 2,
    }
    config, root = prepare_case(
        cases(matryoshka=False)[0],
        tmp_path,
        loss_models,
        arguments=stated,
        learningRates={r"layer\.1\.output": 1e-4},
        perDeviceTrainBatchSize=3,
    )
    trainer, schedule = open_trainer(open_session(config, Workspace(root), Ranks()))
    norms = watch_gradients(trainer)

    trainer.train()

    optimizer = trainer.optimizer.optimizer
    assert type(optimizer).__name__ == "AdamW"
    assert optimizer.defaults["betas"] == (0.9, 0.9)
    rates = [(group["lr"], group["weight_decay"], len(group["params"])) for group in optimizer.param_groups]
    assert rates == [(1e-6, 0.5, 15), (1e-6, 0.0, 20), (1e-4, 0.5, 1), (1e-4, 0.0, 3)]
    assert schedule.total_steps == len(norms) == 2
    assert norms == pytest.approx([0.01, 0.01], rel=1e-3)


def watch_gradients(trainer: Any) -> list[float]:
    """Return a list that takes the norm of the gradient that the optimizer sees in each step."""
    from torch.nn.utils import get_total_norm
    from transformers import TrainerCallback

    norms: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            gradients = [one.grad for one in trainer.trained.values() if one.grad is not None]
            norms.append(float(get_total_norm(gradients)))

    trainer.add_callback(Watch())
    return norms
