"""Whether the library takes what spec.training.arguments says. Imports torch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import torch
from sentence_transformers.base.training_args import BaseTrainingArguments
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset
from transformers import Trainer, get_scheduler

from finetune_api.losses import Kind
from finetune_api.problem import Problem
from finetune_api.reasons import Reason
from finetune_api.types import Training
from finetune_trainer.prepare.checks.stated_arguments import PATH, check_stated
from finetune_trainer.recipe.arguments.json_types import schema_of
from finetune_trainer.recipe.arguments.rules import LEAST, PASSED
from finetune_trainer.recipe.arguments.signatures import Argument
from finetune_trainer.recipe.arguments.training import CLASSES, passed_arguments
from finetune_trainer.workspace.problems import InputProblem

CPU = torch.device("cpu")
#: Settings of activation checkpointing that the Trainer takes out before torch sees the others.
_OF_TRAINER = ("every_n_layers", "offload")


def check_arguments(training: Training, kind: Kind) -> list[InputProblem]:
    """Return every argument that the library does not have, that the job does not leave open, or of a wrong value."""
    problems = list(check_stated(training.arguments, signature_of(kind)))
    if not problems:
        problems = list(_check_use(training.arguments, training, kind))
    return list(dict.fromkeys(InputProblem(Reason.INVALID_ARGUMENT, str(problem)) for problem in problems))


def signature_of(kind: Kind) -> dict[str, Argument]:
    """Return what the library takes for the arguments that a job may state."""
    hints = get_type_hints(CLASSES[kind])
    defaults = {field.name: field.default for field in fields(CLASSES[kind])}
    return {
        name: Argument(takes=dict(schema_of(hints[name], least=LEAST.get(name))), default=repr(defaults[name]))
        for name in sorted(PASSED)
    }


def _check_use(given: Mapping[str, Any], training: Training, kind: Kind) -> Iterator[Problem]:
    """Yield what the library raises when it uses the arguments, which it does not before training otherwise.

    What fails together is looked for alone, to name it.
    """
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
    try:
        use(build_arguments(given, training, kind))
    except (ArithmeticError, AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return None


def build_arguments(given: Mapping[str, Any], training: Training, kind: Kind) -> BaseTrainingArguments:
    """Return arguments that are never trained with; the folder is not made."""
    stated = {**passed_arguments(given, device=CPU), "learning_rate": training.learning_rate}
    return CLASSES[kind](**stated, output_dir="unused", use_cpu=True, report_to="none")


def build_optimizer(arguments: BaseTrainingArguments, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer as the Trainer makes it, of all parameters."""
    cls, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    parameters = settings.pop("optimizer_dict", None) or settings.pop("params", None) or list(model.parameters())
    optimizer: torch.optim.Optimizer = cls(parameters, **settings)
    return optimizer


def construct(arguments: BaseTrainingArguments) -> None:
    """Do no more than the class itself."""


def use_optimizer(arguments: BaseTrainingArguments) -> None:
    """Make the optimizer for a model of one layer."""
    build_optimizer(arguments, nn.Sequential(nn.Linear(1, 1)))


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
