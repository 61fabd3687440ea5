"""Whether the library's loss takes what the spec gives it, with this model and these columns. Imports torch."""

from collections.abc import Iterator, Sequence

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.losses import CrossEntropyLoss
from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss, GISTEmbedLoss
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn

from finetune_api.losses import Kind, Label
from finetune_api.objective import Loss
from finetune_api.problem import Problem
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.tokens import check_tokens
from finetune_trainer.recipe.losses.arguments import Part, parts_of
from finetune_trainer.recipe.losses.build import build_loss
from finetune_trainer.recipe.losses.stated import MATRYOSHKA
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import Column
from finetune_trainer.workspace.problems import InputProblem


def check_loss(  # noqa: PLR0913 - what a loss has to fit
    loss: Loss,
    model: SentenceTransformer | CrossEncoder,
    *,
    path: str,
    kind: Kind,
    label: Label,
    columns: Sequence[Column],
    vector_length: int,
    workspace: Workspace,
) -> list[InputProblem]:
    """Return every argument that the loss does not have, with the nearest one that it has, or cannot use.

    Args:
        loss: that the rules of the spec let pass: kind, rows and negatives fit it.
        model: that is trained, on the meta device.
        path: of the loss in the spec: `spec.training.loss` or `spec.data.train[0].loss`.
        kind: of the model.
        label: of the training set.
        columns: of the training set.
        vector_length: numbers of each label that is a teacher's embedding, 0 for other labels.
        workspace: where the guide is.

    """
    parts = parts_of(loss, kind)
    problems = [problem for part in parts for problem in part.stated.problems(f"{path}.arguments")]
    parts = [part for part in parts if part.name != MATRYOSHKA]
    problems += _check_around(loss, parts, model, path=path)
    problems += _check_dimensions(loss, model, path=path)
    if label is Label.VECTOR:
        problems += _check_teacher(parts[-1], loss, model, path=path, length=vector_length)
    problems += _check_classes(parts[0], model, path=path)
    if problems:
        return [InputProblem(Reason.INVALID_ARGUMENT, str(problem)) for problem in problems]
    try:
        built = build_loss(loss, model, kind=kind, world_size=1, workspace=workspace)
    except RunFailure as failure:
        return [InputProblem(failure.reason, failure.message.replace("training.loss", path, 1))]
    tokens = _check_guide_tokens(built, loss, path=path)
    guides = [
        InputProblem(Reason.INVALID_ARGUMENT, str(problem)) for problem in _check_guide(built, columns, path=path)
    ]
    return [*guides, *tokens]


def _check_around(
    loss: Loss, parts: Sequence[Part], model: SentenceTransformer | CrossEncoder, *, path: str
) -> Iterator[Problem]:
    """Yield why a loss cannot be put around another one with this model."""
    if len(parts) > 1 and not _shows_layers(model):
        because = "it trains every layer of one transformer for texts, which this model is not"
        yield Problem(f"{path}.name", loss.name, because, "choose another loss")


def _shows_layers(model: SentenceTransformer | CrossEncoder) -> bool:
    """Say whether the library is told of the layers; a transformer inside a larger model keeps them to itself."""
    if not isinstance(model[0], Transformer):
        return False
    config = model[0].model.config
    return bool(config.get_text_config() is config)


def _check_dimensions(loss: Loss, model: SentenceTransformer | CrossEncoder, *, path: str) -> Iterator[Problem]:
    if not loss.matryoshka_dimensions:
        return
    size = model.get_embedding_dimension()
    too_large = [dimension for dimension in loss.matryoshka_dimensions if size is not None and dimension > size]
    if too_large:
        because = f"the model's embeddings have {size} dimensions"
        yield Problem(f"{path}.matryoshkaDimensions", too_large, because, "leave out what is larger")


def _check_teacher(
    part: Part, loss: Loss, model: SentenceTransformer | CrossEncoder, *, path: str, length: int
) -> Iterator[Problem]:
    """Yield why embeddings of the model cannot be compared with those of the teacher."""
    argument, projected = f"{path}.arguments.projection_dim", part.given.get("projection_dim")
    size = model.get_embedding_dimension()
    if loss.matryoshka_dimensions and projected is not None:
        because = "a projection takes whole embeddings, and matryoshkaDimensions cut them"
        yield Problem(argument, projected, because, "leave one of them out")
    elif (size if projected is None else projected) != length:
        because = f"the labels have {length} numbers, and the model's embeddings {size}"
        yield Problem(argument, projected, because, f"give {length}" if size != length else "leave it out")


def _check_classes(part: Part, model: SentenceTransformer | CrossEncoder, *, path: str) -> Iterator[Problem]:
    """Yield why a reranker's scores are not those of classes, which the library finds out in the first step."""
    if part.entry.cls is not CrossEntropyLoss:
        return
    if model.num_labels == 1:
        because = "the model gives one score per pair, and classes need one each"
        yield Problem(f"{path}.name", part.name, because, "set spec.model.numLabels, or choose BinaryCrossEntropyLoss")
    weights = part.given.get("weight")
    if isinstance(weights, list) and len(weights) != model.num_labels:
        because = f"the model gives {model.num_labels} scores"
        yield Problem(f"{path}.arguments.weight", weights, because, "give one weight per class")


def _check_guide_tokens(built: nn.Module, loss: Loss, *, path: str) -> Iterator[InputProblem]:
    for one in _guided(built) if loss.guide else []:
        yield from check_tokens(one.guide, path=f"{path}.guide.source", source=loss.guide.source if loss.guide else "")


def _guided(built: nn.Module) -> list[nn.Module]:
    return [one for one in built.modules() if isinstance(one, GISTEmbedLoss | CachedGISTEmbedLoss)]


def _check_guide(loss: nn.Module, columns: Sequence[Column], *, path: str) -> Iterator[Problem]:
    """Yield a problem if the guide would be told of images in the words that the model's tokenizer has for them."""
    guided = _guided(loss)
    images = [column.name for column in columns if column.modality == "image"]
    if images and any(one.must_retokenize for one in guided):
        because = "it reads other tokens than the model, so that it would be shown no images"
        yield Problem(f"{path}.guide.source", ", ".join(images), because, "take a guide with the model's own tokenizer")
