"""Whether the library takes what spec.training.arguments says. Imports torch."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, get_args, get_type_hints

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from sentence_transformers.base.training_args import BaseTrainingArguments
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset
from transformers import Trainer, get_scheduler
from transformers.trainer_utils import SchedulerType

from finetune_api.losses import Kind
from finetune_api.problem import Problem
from finetune_api.reasons import Reason
from finetune_api.types import Training
from finetune_trainer.checks.near import did_you_mean
from finetune_trainer.data.problems import InputProblem
from finetune_trainer.training.argument_rules import MEANT, OURS, PASSED, REFUSED, RENAMED
from finetune_trainer.training.arguments import CLASSES, passed_arguments

PATH = "spec.training.arguments"
CPU = torch.device("cpu")
_LEAST = {
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": 1,
    "gradient_accumulation_steps": 1,
    "max_grad_norm": 0,
    "torch_empty_cache_steps": 1,
    "weight_decay": 0,
}
#: Settings of activation checkpointing that the Trainer takes out before torch sees the others.
_OF_TRAINER = ("every_n_layers", "offload")
#: They follow an evaluation that the Trainer makes.
_BY_EVALUATION = (SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)


def check_arguments(training: Training, kind: Kind) -> list[InputProblem]:
    """Return every argument that the library does not have, that the job does not leave open, or of a wrong value."""
    given = training.arguments
    problems = [problem for name in given for problem in _check_name(name, given)]
    problems += [problem for name in given if name in PASSED for problem in _check_type(name, given[name], kind)]
    if not problems:
        problems = list(_check_use(given, training, kind))
    return list(dict.fromkeys(InputProblem(Reason.INVALID_ARGUMENT, str(problem)) for problem in problems))


def _check_name(name: str, given: Mapping[str, Any]) -> Iterator[Problem]:
    path, value = f"{PATH}.{name}", given[name]
    if name in OURS:
        yield Problem(path, value, f"it is decided by {OURS[name]}", "leave it out here")
    elif name in REFUSED:
        yield Problem(path, value, REFUSED[name], "leave it out")
    elif name not in PASSED:
        fix = MEANT.get(name) or did_you_mean(name, PASSED)
        yield Problem(path, value, "the library has no such training argument", fix)
    elif RENAMED.get(name) in given:
        yield Problem(path, value, f"it is the old name of {RENAMED[name]}, which is given too", "leave it out")


def _check_type(name: str, value: Any, kind: Kind) -> Iterator[Problem]:  # noqa: ANN401 - whatever the manifest has
    """Yield why a value is not what the class declares; of the names of an enumeration, any that is none of them."""
    hint = get_type_hints(CLASSES[kind])[name]
    choices = [one.value for type_ in get_args(hint) if _is_enumeration(type_) for one in type_]
    if choices and value not in choices:
        longer = [choice for choice in choices if choice.startswith(str(value))]
        yield Problem(f"{PATH}.{name}", value, "there is no such name", did_you_mean(str(value), longer or choices))
        return
    try:
        TypeAdapter(hint, config=ConfigDict(strict=True)).validate_json(json.dumps(value))
    except ValidationError as error:
        because = f"it is of a wrong kind: {error.errors(include_url=False)[0]['msg'].lower()}"
        yield Problem(f"{PATH}.{name}", value, because, _default(name, kind))
        return
    yield from _check_size(name, value)


def _check_size(name: str, value: Any) -> Iterator[Problem]:  # noqa: ANN401 - a number
    if name in _LEAST and value is not None and value < _LEAST[name]:
        yield Problem(f"{PATH}.{name}", value, "it is too small", f"give {_LEAST[name]} or more")


def _check_use(given: Mapping[str, Any], training: Training, kind: Kind) -> Iterator[Problem]:
    """Yield what the library raises when it uses the arguments, which it does not before training otherwise.

    What fails together is looked for alone, to name it.
    """
    if given.get("lr_scheduler_type") in _BY_EVALUATION:
        because = "it follows evaluations of the Trainer, and those of the job are its own"
        yield Problem(f"{PATH}.lr_scheduler_type", given["lr_scheduler_type"], because, "choose another schedule")
        return
    for use in (construct, use_optimizer, use_schedule, use_checkpointing, use_loader):
        together = _refusal(use, given, training, kind)
        if together is None:
            continue
        alone = {name: _refusal(use, {name: given[name]}, training, kind) for name in given}
        found = {f"{PATH}.{name}": (given[name], because) for name, because in alone.items() if because}
        for path, (value, because) in (found or {PATH: (dict(given), together)}).items():
            yield Problem(path, value, because, "correct it or leave it out")


def _refusal(use: Callable[[Any], object], given: Mapping[str, Any], training: Training, kind: Kind) -> str | None:
    """Return the library's words, None if it raises nothing."""
    stated = {**passed_arguments(given, device=CPU), "learning_rate": training.learning_rate}
    try:
        # By this name of a folder, which is not made, the library knows arguments that are never trained with.
        use(CLASSES[kind](**stated, output_dir="unused", use_cpu=True, report_to="none"))
    except (ArithmeticError, AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return None


def construct(arguments: BaseTrainingArguments) -> None:
    """Do no more than the class itself."""


def use_optimizer(arguments: BaseTrainingArguments) -> None:
    """Make the optimizer for a model of one layer."""
    model = nn.Sequential(nn.Linear(1, 1))
    cls, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    parameters = settings.pop("optimizer_dict", None) or settings.pop("params", None) or list(model.parameters())
    cls(parameters, **settings)


def use_schedule(arguments: BaseTrainingArguments) -> None:
    """Make the schedule of the learning rate."""
    get_scheduler(
        arguments.lr_scheduler_type,
        torch.optim.SGD(nn.Linear(1, 1).parameters()),
        num_warmup_steps=1,
        num_training_steps=10,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )


def use_checkpointing(arguments: BaseTrainingArguments) -> None:
    """Keep no activations of a function."""
    settings = arguments.activation_checkpointing_kwargs or {}
    of_torch = {name: value for name, value in settings.items() if name not in _OF_TRAINER}
    checkpoint(torch.sin, torch.ones(1, requires_grad=True), **{"use_reentrant": False, **of_torch})


def use_loader(arguments: BaseTrainingArguments) -> None:
    """Make a data loader; its processes are not started."""
    DataLoader(
        TensorDataset(torch.zeros(1)),
        num_workers=arguments.dataloader_num_workers,
        persistent_workers=arguments.dataloader_persistent_workers,
        prefetch_factor=arguments.dataloader_prefetch_factor,
    )


def _is_enumeration(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, Enum)


def _default(name: str, kind: Kind) -> str:
    default = next(field.default for field in fields(CLASSES[kind]) if field.name == name)
    return f"correct it, or leave it out for the library's {default!r}"
