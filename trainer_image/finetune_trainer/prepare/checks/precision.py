"""What training would do to weights of the stated precision. Imports torch."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from finetune_api.problem import Problem
from finetune_api.reasons import Reason
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.prepare.checks.arguments import build_arguments, build_optimizer
from finetune_trainer.prepare.checks.stated_arguments import PATH
from finetune_trainer.recipe.model.precision import DTYPES
from finetune_trainer.recipe.sharding import refusal, trained_dtype
from finetune_trainer.workspace.problems import InputProblem

#: Below this learning rate an update is less than half the distance between neighbouring bfloat16 values for most
#: weights, so that rounding takes it away.
SLOW_FOR_BFLOAT16 = 1e-4
#: What decides by what the optimizer divides.
_OF_THE_DIVISION = ("adam_epsilon", "optim_args", "optim")


def precision_warnings(spec: FinetuneJobSpec) -> list[str]:
    """Return why training may do next to nothing, or harm, in the stated precision."""
    return [f"spec.model.dtype: {warning}" for warning in (*_of_bfloat16(spec), *_of_float16(spec))]


def check_precision(spec: FinetuneJobSpec) -> list[InputProblem]:
    """Return which argument would make weights no numbers at the first step, or scales what cannot be scaled.

    The library takes all of them. Adam's epsilon of 1e-8 is 0 in float16. The optimizers that compute in the precision
    of the weights then divide 0 by 0 wherever a gradient is 0, as for all words of the vocabulary that are in no batch.
    """
    given = spec.training.arguments
    if given.get("fp16") and spec.model.dtype != "float32":
        because = f"it is autocast of float32 weights, and spec.model.dtype is {spec.model.dtype}"
        fix = "leave it out, or set spec.model.dtype to float32"
        return [InputProblem(Reason.INVALID_ARGUMENT, str(Problem(f"{PATH}.fp16", given["fp16"], because, fix)))]
    if (reason := refusal(spec)) is not None:
        problem = Problem("spec.training.sharding", spec.training.sharding, reason, "leave it out, or change that")
        return [InputProblem(Reason.INVALID_ARGUMENT, str(problem))]
    if _leaves_numbers(spec, given):
        return []
    rest = {name: {key: value for key, value in given.items() if key != name} for name in _OF_THE_DIVISION}
    blamed = next((name for name in rest if _leaves_numbers(spec, rest[name])), "optim")
    dtype = trained_dtype(spec)
    because = f"this optimizer divides 0 by 0 where a gradient is 0, which leaves no numbers in weights of {dtype}"
    fix = "leave it out" if dtype == "float32" else "leave it out, or set spec.model.dtype to float32"
    return [InputProblem(Reason.INVALID_ARGUMENT, str(Problem(f"{PATH}.{blamed}", given.get(blamed), because, fix)))]


def _leaves_numbers(spec: FinetuneJobSpec, arguments: Mapping[str, Any]) -> bool:
    """Say whether a weight is still a number after a step with a gradient of 0."""
    model = nn.Linear(1, 1, bias=False, dtype=DTYPES[trained_dtype(spec)])
    optimizer = build_optimizer(build_arguments(arguments, spec.training, spec.model.kind), model)
    model.weight.grad = torch.zeros_like(model.weight)
    optimizer.step()
    return bool(torch.isfinite(model.weight).all())


def _of_bfloat16(spec: FinetuneJobSpec) -> Iterator[str]:
    rate = spec.training.learning_rate
    if trained_dtype(spec) == "bfloat16" and rate < SLOW_FOR_BFLOAT16:
        cause = f"bfloat16 with learningRate below {SLOW_FOR_BFLOAT16:g} ({rate:g}): most weights will not move"
        yield f"{cause}; leave spec.training.sharding out, or use float32, which trains with bfloat16 autocast, or lora"


def _of_float16(spec: FinetuneJobSpec) -> Iterator[str]:
    if spec.model.dtype == "float16":
        limits = torch.finfo(torch.float16)
        least, most = limits.smallest_normal * limits.eps, limits.max
        cause = (
            f"float16 without loss scaling: gradients below {least:.0e} become 0, and values above {most:g} infinite"
        )
        autocast = "float32, which trains with bfloat16 autocast, or with scaled float16 under training.arguments.fp16"
        yield f"{cause}; use {'bfloat16' if spec.model.lora else autocast}"
