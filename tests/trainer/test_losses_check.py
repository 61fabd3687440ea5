# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""What prepare says about a loss before an accelerator is asked for."""

from dataclasses import dataclass
from typing import Any

import pytest

from finetune_api.losses import Label
from finetune_api.objective import Loss
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.manifest import Column

TEXTS = [Column(name="query", modality="text"), Column(name="positive", modality="text")]
IMAGES = [Column(name="query", modality="text"), Column(name="positive", modality="image")]
PATH = "spec.data.train[1].loss"
PLAIN = "MultipleNegativesRankingLoss"
GUIDE = {"source": "hf://acme/guide", "revision": "main"}


@dataclass(frozen=True)
class Models:
    """Models without weights."""

    embedding: Any
    reranker: Any
    classifier: Any
    pages: Any


@pytest.fixture(scope="module")
def models(loss_models: Workspace, tiny_model: Any) -> Models:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    on_meta: dict[str, Any] = {"local_files_only": True, "model_kwargs": {"device_map": "meta"}}
    return Models(
        embedding=SentenceTransformer(str(loss_models.base_model), **on_meta),
        reranker=CrossEncoder(str(loss_models.root / "reranker-1"), **on_meta),
        classifier=CrossEncoder(str(loss_models.root / "reranker-3"), **on_meta),
        pages=SentenceTransformer(str(tiny_model), **on_meta),
    )


def told(  # noqa: PLR0913 - parts of what is checked
    loss: dict[str, Any],
    model: Any,
    loss_models: Workspace,
    *,
    label: Label = Label.NONE,
    columns: list[Column] = TEXTS,
    vector_length: int = 0,
) -> list[str]:
    """Return the sentences."""
    from sentence_transformers import CrossEncoder

    from finetune_trainer.prepare.checks.loss import check_loss

    problems = check_loss(
        Loss.model_validate(loss),
        model,
        path=PATH,
        kind="Reranker" if isinstance(model, CrossEncoder) else "Embedding",
        label=label,
        columns=columns,
        vector_length=vector_length,
        workspace=loss_models,
    )
    return [problem.message for problem in problems]


def test_all_wrong_arguments_are_told_at_once_with_what_was_meant(models: Models, loss_models: Workspace) -> None:
    arguments = {"similarity_fn": "cos_sim", "mini_batch": 4, "scale": "high", "similarity_fct": "cosine_sim"}

    messages = told({"arguments": arguments}, models.embedding, loss_models)

    assert messages == [
        f"{PATH}.arguments.similarity_fn: 'cos_sim' is wrong because CachedMultipleNegativesRankingLoss has no such "
        "argument that can be set; did you mean similarity_fct?",
        f"{PATH}.arguments.mini_batch: 4 is wrong because CachedMultipleNegativesRankingLoss has no such argument "
        "that can be set; did you mean mini_batch_size or mini_batch_num_tokens?",
        f"{PATH}.arguments.scale: 'high' is wrong because it is of a wrong kind or size: input should be a valid "
        "number; correct it, or leave it out for the library's 20.0",
        f"{PATH}.arguments.similarity_fct: 'cosine_sim' is wrong because there is no such name; did you mean cos_sim?",
    ]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            {"name": "SoftmaxLoss", "arguments": {"num_labels": 3, "sentence_embedding_dimension": 32}},
            "arguments.sentence_embedding_dimension: 32 is wrong because SoftmaxLoss has no such argument that can be "
            "set; it is called embedding_dimension now, and taken from the model: leave it out",
        ),
        (
            {"name": "SoftmaxLoss"},
            "arguments.num_labels: None is wrong because SoftmaxLoss needs it; give it",
        ),
        (
            {"name": "TripletLoss", "arguments": {"margin": 1}},
            "arguments.margin: 1 is wrong because TripletLoss has no such argument that can be set; "
            "did you mean triplet_margin?",
        ),
        (
            {"name": PLAIN, "arguments": {"matryoshka_dims": [8]}},
            f"arguments.matryoshka_dims: [8] is wrong because {PLAIN} has no such argument that can be set; "
            "write it beside arguments: matryoshkaDimensions",
        ),
        (
            {"name": PLAIN, "arguments": {"n_dims_per_step": 1}},
            f"arguments.n_dims_per_step: 1 is wrong because {PLAIN} has no such argument that can be set; "
            "give matryoshkaDimensions, of which it takes so many, or leave it out",
        ),
        (
            {"name": PLAIN, "arguments": {"n_dim_per_step": 1}, "matryoshkaDimensions": [32, 8]},
            f"arguments.n_dim_per_step: 1 is wrong because {PLAIN} has no such argument that can be set; "
            "did you mean n_dims_per_step?",
        ),
        (
            {"name": "MultipleNegativesSymmetricRankingLoss", "arguments": {"partition_mode": "joint"}},
            "arguments.partition_mode: 'joint' is wrong because MultipleNegativesSymmetricRankingLoss has no such "
            "argument that can be set; choose among gather_across_devices, hardness_mode, hardness_strength, scale, "
            "similarity_fct",
        ),
        (
            {"arguments": {"mini_batch_size": 0}},
            "arguments.mini_batch_size: 0 is wrong because it is of a wrong kind or size: input should be greater "
            "than or equal to 1; correct it, or leave it out for the library's 32",
        ),
        (
            {"name": PLAIN, "matryoshkaDimensions": [64, 32]},
            "matryoshkaDimensions: [64] is wrong because the model's embeddings have 32 dimensions; "
            "leave out what is larger",
        ),
        (
            {"name": "AdaptiveLayerLoss", "arguments": {"loss": PLAIN, "n_layer_per_step": 2}},
            f"arguments.n_layer_per_step: 2 is wrong because {PLAIN} has no such argument that can be set; "
            "did you mean n_layers_per_step?",
        ),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else value.get("name", "default"),
)
def test_a_wrong_loss_of_embeddings_is_told(
    loss: dict[str, Any], message: str, models: Models, loss_models: Workspace
) -> None:
    assert told(loss, models.embedding, loss_models) == [f"{PATH}.{message}"]


def test_what_the_constructor_says_is_told_with_the_path(models: Models, loss_models: Workspace) -> None:
    loss = {"name": PLAIN, "arguments": {"scale": -1}}

    assert told(loss, models.embedding, loss_models) == [
        f"{PATH}: {PLAIN} was refused: ValueError: Scale must be a positive value."
    ]


@pytest.mark.parametrize(
    ("loss", "length", "message"),
    [
        (
            {"name": "MSELoss", "arguments": {"projection_dim": 48}, "matryoshkaDimensions": [32, 8]},
            48,
            "48 is wrong because a projection takes whole embeddings, and matryoshkaDimensions cut them; "
            "leave one of them out",
        ),
        (
            {"name": "MSELoss"},
            48,
            "None is wrong because the labels have 48 numbers, and the model's embeddings 32; give 48",
        ),
        (
            {"name": "AdaptiveLayerLoss", "arguments": {"loss": "EmbedDistillLoss", "projection_dim": 8}},
            32,
            "8 is wrong because the labels have 32 numbers, and the model's embeddings 32; leave it out",
        ),
    ],
    ids=["cut", "too short", "wrong projection"],
)
def test_embeddings_must_be_as_long_as_the_teachers(
    loss: dict[str, Any], length: int, message: str, models: Models, loss_models: Workspace
) -> None:
    messages = told(loss, models.embedding, loss_models, label=Label.VECTOR, vector_length=length)

    assert messages == [f"{PATH}.arguments.projection_dim: {message}"]


def test_a_projection_makes_up_for_the_difference(models: Models, loss_models: Workspace) -> None:
    loss = {"name": "MSELoss", "arguments": {"projection_dim": 48}}

    assert told(loss, models.embedding, loss_models, label=Label.VECTOR, vector_length=48) == []
    assert told({"name": "MSELoss"}, models.embedding, loss_models, label=Label.VECTOR, vector_length=32) == []


def test_classes_need_as_many_scores(models: Models, loss_models: Workspace) -> None:
    weights = {"name": "CrossEntropyLoss", "arguments": {"weight": [1, 2]}}

    assert told({"name": "CrossEntropyLoss"}, models.reranker, loss_models, label=Label.CLASS) == [
        f"{PATH}.name: 'CrossEntropyLoss' is wrong because the model gives one score per pair, and classes need one "
        "each; set spec.model.numLabels, or choose BinaryCrossEntropyLoss"
    ]
    assert told(weights, models.classifier, loss_models, label=Label.CLASS) == [
        f"{PATH}.arguments.weight: [1, 2] is wrong because the model gives 3 scores; give one weight per class"
    ]
    assert told({"name": "BinaryCrossEntropyLoss"}, models.classifier, loss_models, label=Label.SCORE) == [
        f"{PATH}: BinaryCrossEntropyLoss was refused: ValueError: BinaryCrossEntropyLoss expects a model with "
        "1 output label, but got a model with 3 output labels."
    ]


def test_a_guide_with_another_tokenizer_would_see_no_images(models: Models, loss_models: Workspace) -> None:
    loss = {"name": "GISTEmbedLoss", "guide": GUIDE}

    assert told(loss, models.pages, loss_models, columns=IMAGES) == [
        f"{PATH}.guide.source: 'positive' is wrong because it reads other tokens than the model, so that it would be "
        "shown no images; take a guide with the model's own tokenizer"
    ]
    assert told(loss, models.pages, loss_models, columns=TEXTS) == []


def test_layers_inside_a_larger_model_cannot_be_trained_one_by_one(models: Models, loss_models: Workspace) -> None:
    loss = {"name": "AdaptiveLayerLoss", "arguments": {"loss": PLAIN}}

    assert told(loss, models.pages, loss_models) == [
        f"{PATH}.name: 'AdaptiveLayerLoss' is wrong because it trains every layer of one transformer for texts, which "
        "this model is not; choose another loss"
    ]


def test_a_decoder_needs_a_model_that_can_be_one_and_trains_all_weights(
    models: Models, loss_models: Workspace, text_model: Any
) -> None:
    from sentence_transformers import SentenceTransformer

    loss = {"name": "DenoisingAutoEncoderLoss"}
    frozen = SentenceTransformer(str(text_model), local_files_only=True, model_kwargs={"device_map": "meta"})
    next(frozen.parameters()).requires_grad_(requires_grad=False)

    (unfit,) = told(loss, models.pages, loss_models)
    (partly,) = told(loss, frozen, loss_models)

    assert unfit.startswith(f"{PATH}: DenoisingAutoEncoderLoss was refused: ValueError: Unrecognized configuration")
    assert partly.endswith("leave spec.model.freeze and spec.model.lora out")


def test_good_losses_pass(models: Models, loss_models: Workspace) -> None:
    cached = {"arguments": {"mini_batch_size": "auto", "mini_batch_num_tokens": 100}, "matryoshkaDimensions": [32, 8]}

    assert told(cached, models.embedding, loss_models) == []
    assert told({"name": "GISTEmbedLoss", "guide": GUIDE}, models.embedding, loss_models) == []
    assert told({"name": "DenoisingAutoEncoderLoss"}, models.embedding, loss_models) == []
    assert told({"name": "CachedCrossEncoderLoss"}, models.reranker, loss_models) == []
    assert told({"name": "CrossEntropyLoss"}, models.classifier, loss_models, label=Label.CLASS) == []
