"""How a value that JSON can hold becomes what a loss takes: functions, layers and tensors by name or number."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
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

from finetune_trainer.recipe.arguments.json_types import ANYTHING, Schema, names, schema_of

AUTO = "auto"


@dataclass(frozen=True)
class Read:
    """How one value is read."""

    schema: Schema
    """What JSON may stand there."""
    convert: Callable[[Any], Any]
    """Returns what the loss takes for a value that fits."""


def one_of(choices: Mapping[str, Any]) -> Read:
    """Return what takes things by name."""
    return Read(names(choices), choices.__getitem__)


def made(classes: Mapping[str, type[nn.Module]], *, null: type[nn.Module]) -> Read:
    """Return what takes layers by name, built anew without arguments; null is the one that changes nothing."""
    return Read(names([*classes, None]), lambda name: (null if name is None else classes[name])())


def typed(hint: Any) -> Read:  # noqa: ANN401 - any type
    """Return what takes values of the type `hint` and no others; a list of JSON may be a tuple."""
    schema = schema_of(hint)
    if schema == ANYTHING:
        return Read(ANYTHING, lambda value: value)
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    return Read(schema, lambda value: adapter.validate_json(json.dumps(value)))


def _by_name(*things: Any) -> dict[str, Any]:  # noqa: ANN401 - functions or classes
    return {thing.__name__: thing for thing in things}


def _attributes(holder: type, *attributes: str) -> Read:
    return one_of({name: getattr(holder, name) for name in attributes})


#: Of every embedding with every other one.
similarity = one_of(_by_name(util.cos_sim, util.dot_score, util.euclidean_sim, util.manhattan_sim))
#: Of the embeddings of one row.
pairwise_similarity = one_of(
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

activation = made(
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
regression_loss = made(_by_name(nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss), null=nn.MSELoss)
class_loss = made(_by_name(nn.CrossEntropyLoss, nn.MultiMarginLoss), null=nn.CrossEntropyLoss)

_SCHEMES = _by_name(NDCGLoss2PPScheme, NDCGLoss1Scheme, NDCGLoss2Scheme, LambdaRankScheme, NoWeightingScheme)
weighting_scheme = made(
    {name.removesuffix("Scheme"): scheme for name, scheme in _SCHEMES.items()} | _SCHEMES | {"No": NoWeightingScheme},
    null=NoWeightingScheme,
)
layer_weighting = one_of({name: name for name in ("uniform", "log", "linear")})
reduction = one_of({name: name for name in ("mean", "sum")})

number = typed(float)
count = typed(Annotated[int, Field(ge=1)])
count_or_null = typed(Annotated[int, Field(ge=1)] | None)
#: The weights by position for true, none for false or null.
lambda_weight = Read(schema_of(bool | None), lambda value: PListMLELambdaWeight() if value else None)
#: One number or a list of them.
tensor = Read(schema_of(float | list[float] | None), lambda numbers: None if numbers is None else torch.tensor(numbers))
#: A number of rows, or AUTO.
mini_batch_size = Read({"anyOf": [count.schema, names([AUTO])]}, lambda value: value)
