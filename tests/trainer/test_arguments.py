# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""Which training arguments of the library a job can state, and what it is told about the others."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from finetune_api.losses import Kind
from finetune_api.types import FinetuneJobSpec, Training
from finetune_trainer.recipe.arguments import rules as argument_rules

KINDS: list[Kind] = ["Embedding", "Reranker"]
PATH = "spec.training.arguments"


def told(arguments: dict[str, Any], kind: Kind = "Embedding") -> list[str]:
    """Return the sentences about these arguments."""
    from finetune_trainer.prepare.checks.arguments import check_arguments

    return [problem.message for problem in check_arguments(Training(arguments=arguments), kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_of_the_library_is_passed_ours_or_refused(kind: Kind) -> None:
    from dataclasses import fields

    from finetune_trainer.recipe.arguments.training import CLASSES

    names = [field.name for field in fields(CLASSES[kind])]

    listed = [*argument_rules.PASSED, *argument_rules.OURS, *argument_rules.REFUSED]
    assert sorted(listed) == sorted(names)
    assert not set(names) & argument_rules.MEANT.keys()
    assert {*argument_rules.RENAMED, *argument_rules.RENAMED.values()} <= argument_rules.PASSED


def test_every_field_that_is_named_instead_exists() -> None:
    sentences = [*argument_rules.OURS.values(), *argument_rules.REFUSED.values(), *argument_rules.MEANT.values()]
    named = {path for sentence in sentences for path in re.findall(r"spec(?:\.[A-Za-z_]+(?:\[\])?)+", sentence)}

    assert "spec.training.seed" in named
    assert [path for path in sorted(named) if not exists(path)] == []


def exists(path: str) -> bool:
    """Say whether the spec has this field; what is below free arguments is not looked at."""
    models: list[type[BaseModel]] = [FinetuneJobSpec]
    for part in path.removeprefix("spec.").replace("[]", "").split("."):
        found = [field for model in models for field in model.model_fields.values() if field.alias == part]
        if not found:
            return not models
        models = [one for field in found for one in models_in(field.annotation)]
    return True


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_that_are_left_open_pass(kind: Kind) -> None:
    arguments = {
        "weight_decay": 0.01,
        "optim": "adafactor",
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr": 1e-6},
        "max_grad_norm": 0,
        "gradient_accumulation_steps": 4,
        "activation_checkpointing": True,
        "activation_checkpointing_kwargs": {"every_n_layers": 2, "use_reentrant": False},
        "dataloader_prefetch_factor": 4,
        "dataloader_persistent_workers": True,
        "tf32": True,
    }

    assert told(arguments, kind) == []
    assert told({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}, kind) == []


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            {"wieght_decay": 0.1, "seed": 1},
            [
                "wieght_decay: 0.1 is wrong because the library has no such training argument; "
                "did you mean weight_decay?",
                "seed: 1 is wrong because it is decided by spec.training.seed; leave it out here",
            ],
        ),
        (
            {"evaluation_strategy": "steps"},
            [
                "evaluation_strategy: 'steps' is wrong because the library has no such training argument; "
                "it is called eval_strategy now; spec.evaluation.every decides"
            ],
        ),
        (
            {"torch_dtype": "bfloat16"},
            [
                "torch_dtype: 'bfloat16' is wrong because the library has no such training argument; "
                "it is called dtype now; spec.model.dtype decides"
            ],
        ),
        (
            {"fsdp": "full_shard"},
            [
                "fsdp: 'full_shard' is wrong because spec.training.sharding says what each process holds of the model; "
                "leave it out"
            ],
        ),
        (
            {"report_to": "wandb"},
            [
                "report_to: 'wandb' is wrong because training pods have no network; read status, metrics or the "
                "report; leave it out"
            ],
        ),
        (
            {"weight_decay": "high", "gradient_accumulation_steps": 0, "max_grad_norm": -1},
            [
                "weight_decay: 'high' is wrong because it is of a wrong kind or size: input should be a valid number; "
                "correct it, or leave it out for the library's 0.0",
                "gradient_accumulation_steps: 0 is wrong because it is of a wrong kind or size: input should be "
                "greater than or equal to 1; correct it, or leave it out for the library's 1",
                "max_grad_norm: -1 is wrong because it is of a wrong kind or size: input should be greater than or "
                "equal to 0; correct it, or leave it out for the library's 1.0",
            ],
        ),
        (
            {"optim": "adamw_fused"},
            ["optim: 'adamw_fused' is wrong because there is no such name; did you mean adamw_torch_fused"],
        ),
        (
            {"lr_scheduler_type": "cos"},
            ["lr_scheduler_type: 'cos' is wrong because there is no such name; did you mean cosine?"],
        ),
        (
            {"optim": "adamw_8bit"},
            ["optim: 'adamw_8bit' is wrong because You need to install `bitsandbytes`"],
        ),
        (
            {"adam_beta1": 1.5, "lr_scheduler_type": "warmup_stable_decay"},
            [
                "adam_beta1: 1.5 is wrong because Invalid beta parameter at index 0: 1.5; correct it or leave it out",
                "lr_scheduler_type: 'warmup_stable_decay' is wrong because get_wsd_schedule() missing 1 required "
                "positional argument: 'num_decay_steps'; correct it or leave it out",
            ],
        ),
        (
            {"lr_scheduler_type": "reduce_lr_on_plateau"},
            [
                "lr_scheduler_type: 'reduce_lr_on_plateau' is wrong because it follows evaluations of the Trainer, and "
                "those of the job are its own; choose another schedule"
            ],
        ),
        (
            {"lr_scheduler_kwargs": {"cycles": 2}},
            [
                "lr_scheduler_kwargs: {'cycles': 2} is wrong because get_linear_schedule_with_warmup() got an "
                "unexpected keyword argument 'cycles'; correct it or leave it out"
            ],
        ),
        (
            {"gradient_checkpointing": True, "activation_checkpointing": True},
            [
                "gradient_checkpointing: True is wrong because it is the old name of activation_checkpointing, which "
                "is given too; leave it out"
            ],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_told_at_once_with_what_to_do(arguments: dict[str, Any], messages: list[str]) -> None:
    found = told(arguments)

    assert len(found) == len(messages)
    for sentence, message in zip(found, messages, strict=True):
        assert sentence.startswith(f"{PATH}.{message}")


def test_arguments_that_exclude_each_other_are_told_together() -> None:
    arguments = {"dataloader_persistent_workers": True, "dataloader_num_workers": 0}

    assert told(arguments) == [
        f"{PATH}: {arguments} is wrong because persistent_workers option needs num_workers > 0; "
        "correct it or leave it out"
    ]
