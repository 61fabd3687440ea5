"""How a value that JSON can hold becomes what a loss takes: functions, layers and tensors by name or number."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from sentence_transformers import util
from sentence_transformers.cross_encoder.losses import (
    LambdaRankScheme,
    NDCGLoss1Scheme,
    NDCGLoss2PPScheme,
    NDCGLoss2Scheme,
    NoWeightingScheme,
    PListMLELambdaWeight,
)
from sentence_transformers.sentence_transformer.losses import (
    BatchHardTripletLossDistanceFunction,
    SiameseDistanceMetric,
    TripletDistanceMetric,
)
from torch import nn

from finetune_trainer.checks.near import did_you_mean

#: Returns what the loss takes for a value of the manifest; raises ValueError with the words that say why it cannot.
Read = Callable[[Any], Any]

AUTO = "auto"


@dataclass(frozen=True)
class OneOf:
    """Things by name."""

    choices: Mapping[str, Any]

    def __call__(self, value: object) -> Any:  # noqa: ANN401 - whatever the loss takes
        """Return what `value` names."""
        if isinstance(value, str) and value in self.choices:
            return self.choices[value]
        raise ValueError(f"no such name is known; {did_you_mean(str(value), self.choices)}")


@dataclass(frozen=True)
class Made:
    """Layers by name, built without arguments; null is the one that changes nothing."""

    classes: Mapping[str, type[nn.Module]]
    null: type[nn.Module]

    def __call__(self, value: object) -> nn.Module:
        """Return a new layer."""
        layer: nn.Module = self.null() if value is None else OneOf(self.classes)(value)()
        return layer


def typed(hint: Any) -> Read:  # noqa: ANN401 - any type
    """Return what takes values of the type `hint` and no others; a list of JSON may be a tuple."""
    adapter: TypeAdapter[Any] = TypeAdapter(hint, config=ConfigDict(strict=True))

    def read(value: object) -> Any:  # noqa: ANN401 - as the type says
        try:
            return adapter.validate_json(json.dumps(value))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"it is of a wrong kind or size: {first['msg'].lower()}") from error

    return read


def _by_name(*things: Any) -> dict[str, Any]:  # noqa: ANN401 - functions or classes
    return {thing.__name__: thing for thing in things}


def _attributes(holder: type, *names: str) -> OneOf:
    return OneOf({name: getattr(holder, name) for name in names})


#: Of every embedding with every other one.
similarity = OneOf(_by_name(util.cos_sim, util.dot_score, util.euclidean_sim, util.manhattan_sim))
#: Of the embeddings of one row.
pairwise_similarity = OneOf(
    _by_name(
        util.pairwise_cos_sim,
        util.pairwise_dot_score,
        util.pairwise_euclidean_sim,
        util.pairwise_manhattan_sim,
        util.pairwise_angle_sim,
    )
)
siamese_distance = _attributes(SiameseDistanceMetric, "COSINE_DISTANCE", "EUCLIDEAN", "MANHATTAN")
triplet_distance = _attributes(TripletDistanceMetric, "COSINE", "EUCLIDEAN", "MANHATTAN")
batch_distance = _attributes(BatchHardTripletLossDistanceFunction, "cosine_distance", "euclidean_distance")

activation = Made(
    _by_name(
        nn.Identity,
        nn.Sigmoid,
        nn.LogSigmoid,
        nn.Tanh,
        nn.ReLU,
        nn.LeakyReLU,
        nn.ELU,
        nn.GELU,
        nn.SiLU,
        nn.Softplus,
        nn.Softsign,
        nn.Hardsigmoid,
        nn.Hardtanh,
    ),
    null=nn.Identity,
)
regression_loss = Made(_by_name(nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss), null=nn.MSELoss)
class_loss = Made(_by_name(nn.CrossEntropyLoss, nn.MultiMarginLoss), null=nn.CrossEntropyLoss)

_SCHEMES = _by_name(NDCGLoss2PPScheme, NDCGLoss1Scheme, NDCGLoss2Scheme, LambdaRankScheme, NoWeightingScheme)
weighting_scheme = Made(
    {name.removesuffix("Scheme"): scheme for name, scheme in _SCHEMES.items()} | _SCHEMES | {"No": NoWeightingScheme},
    null=NoWeightingScheme,
)
layer_weighting = OneOf({name: name for name in ("uniform", "log", "linear")})
reduction = OneOf({name: name for name in ("mean", "sum")})

number = typed(float)
count = typed(Annotated[int, Field(ge=1)])
count_or_null = typed(Annotated[int, Field(ge=1)] | None)


def lambda_weight(value: object) -> PListMLELambdaWeight | None:
    """Return the weights by position for true, none for false or null."""
    return PListMLELambdaWeight() if typed(bool | None)(value) else None


def tensor(value: object) -> torch.Tensor | None:
    """Return one number or a list of them as a tensor."""
    numbers = typed(float | list[float] | None)(value)
    return None if numbers is None else torch.tensor(numbers)


def mini_batch_size(value: object) -> int | str:
    """Return a number of rows, or AUTO."""
    return AUTO if value == AUTO else int(count(value))
