# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""How the loss of a manifest becomes the library's object."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from finetune_api.objective import Loss
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.failures import RunFailure

CACHED = "CachedMultipleNegativesRankingLoss"
PLAIN = "MultipleNegativesRankingLoss"
GUIDE = {"source": "hf://acme/guide", "revision": "main"}


def arguments_of(loss: Loss, *, kind: Any = "Embedding", device: str = "cpu", world_size: int = 1) -> dict[str, Any]:
    """Return the keyword arguments that the class gets."""
    import torch

    from finetune_trainer.recipe.losses.arguments import ModelFacts, complete, parts_of

    (part,) = parts_of(loss, kind)
    assert list(part.stated.problems("training.loss.arguments")) == []
    return complete(part.read(), part.entry, model=ModelFacts(torch.device(device)), world_size=world_size)


def build(loss: Loss, loss_models: Workspace, *, kind: Any = "Embedding", num_labels: int = 1) -> Any:
    """Return the loss for one of the small models."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from finetune_trainer.recipe.losses.build import build_loss

    model = (
        SentenceTransformer(str(loss_models.base_model), device="cpu")
        if kind == "Embedding"
        else CrossEncoder(str(loss_models.root / f"reranker-{num_labels}"), device="cpu")
    )
    return build_loss(loss, model, kind=kind, world_size=1, workspace=loss_models)


def test_negatives_are_gathered_from_all_ranks_unless_the_spec_says_otherwise() -> None:
    assert arguments_of(Loss(name=PLAIN), world_size=2) == {"gather_across_devices": True}
    assert arguments_of(Loss(name=PLAIN), world_size=1) == {"gather_across_devices": False}
    assert arguments_of(Loss(name=PLAIN, arguments={"gather_across_devices": False}), world_size=2) == {
        "gather_across_devices": False
    }


def test_what_trains_each_layer_goes_around_no_loss_that_embeds_twice_or_has_a_guide() -> None:
    from finetune_api.losses import EMBEDDING_LOSSES
    from finetune_trainer.recipe.losses.table import EMBEDDING

    refused = {name for name, rule in EMBEDDING_LOSSES.items() if rule.no_layers}

    assert refused - {"GlobalOrthogonalRegularizationLoss"} == {
        name for name, entry in EMBEDDING.items() if entry.cached or "guide" in entry.parameters
    }


def test_a_loss_that_cannot_gather_is_not_asked_to() -> None:
    assert arguments_of(Loss(name="CoSENTLoss"), world_size=2) == {}
    assert arguments_of(Loss(name=PLAIN), kind="Reranker", world_size=2) == {}


@pytest.mark.parametrize("arguments", [{}, {"mini_batch_size": "auto"}], ids=["unstated", "auto"])
def test_an_automatic_mini_batch_is_bounded_by_tokens_where_the_loss_counts_them_and_by_rows_elsewhere(
    arguments: dict[str, Any],
) -> None:
    loss = Loss(name=CACHED, arguments=arguments)

    assert arguments_of(loss) == {"mini_batch_size": 16, "mini_batch_num_tokens": 128, "gather_across_devices": False}
    assert arguments_of(loss, device="cuda") == {
        "mini_batch_size": 64,
        "mini_batch_num_tokens": 8192,
        "gather_across_devices": False,
    }
    assert arguments_of(loss, kind="Reranker") == {"mini_batch_size": 8}
    assert arguments_of(loss, kind="Reranker", device="cuda") == {"mini_batch_size": 32}
    mega = Loss(name="MegaBatchMarginLoss", arguments=arguments)
    assert arguments_of(mega) == {"mini_batch_size": 16, "mini_batch_num_tokens": 128}


@pytest.mark.parametrize(("embedding_size", "tokens"), [(64, 1536), (128, 384), (384, 128), (2048, 128)])
def test_on_a_cpu_a_narrow_model_embeds_more_tokens_at_once(embedding_size: int, tokens: int) -> None:
    from finetune_trainer.recipe.losses.arguments import automatic_on_cpu

    assert automatic_on_cpu(embedding_size) == {"mini_batch_size": 16, "mini_batch_num_tokens": tokens}


def test_mini_batches_are_bounded_by_rows_where_a_model_takes_inputs_without_tokens(tmp_path: Path) -> None:
    import torch

    from finetune_trainer.recipe.losses.arguments import ModelFacts, complete, parts_of
    from finetune_trainer.recipe.losses.tokens import counts_tokens
    from tests.trainer.model_folders import CLIP, EMBEDDER, load

    (part,) = parts_of(Loss(name=CACHED), "Embedding")
    models = {
        source: ModelFacts(torch.device("cuda"), partial(counts_tokens, load(folder, source=source)))
        for source, folder in ((CLIP, tmp_path / "clip"), (EMBEDDER, tmp_path / "qwen"))
    }

    found = {source: complete({}, part.entry, model=facts, world_size=1) for source, facts in models.items()}

    assert {source: arguments["mini_batch_size"] for source, arguments in found.items()} == {CLIP: 32, EMBEDDER: 64}
    assert {source: arguments.get("mini_batch_num_tokens") for source, arguments in found.items()} == {
        CLIP: None,
        EMBEDDER: 8192,
    }


def test_a_bound_in_tokens_is_refused_where_a_model_takes_inputs_without_tokens(tmp_path: Path) -> None:
    from finetune_trainer.recipe.losses.build import build_loss
    from tests.trainer.model_folders import CLIP, load

    loss = Loss(name=CACHED, arguments={"mini_batch_num_tokens": 512})

    with pytest.raises(RunFailure, match=r"mini_batch_num_tokens: 512 is wrong because .* give mini_batch_size alone"):
        build_loss(loss, load(tmp_path, source=CLIP), kind="Embedding", world_size=1, workspace=Workspace(tmp_path))


def test_stated_arguments_reach_the_loss_as_they_are() -> None:
    stated = {"mini_batch_size": 3, "scale": 5.0, "directions": ["query_to_doc", "doc_to_query"]}

    assert arguments_of(Loss(name=CACHED, arguments=stated)) == {
        "mini_batch_size": 3,
        "scale": 5.0,
        "directions": ("query_to_doc", "doc_to_query"),
        "gather_across_devices": False,
    }


def test_functions_layers_and_tensors_are_named_in_the_manifest(loss_models: Workspace) -> None:
    import torch
    from sentence_transformers import util
    from sentence_transformers.cross_encoder import losses as reranker
    from sentence_transformers.sentence_transformer import losses as embedding
    from torch import nn

    def built(name: str, kind: str = "Embedding", **arguments: Any) -> Any:
        return build(Loss(name=name, arguments=arguments), loss_models, kind=kind)

    assert built(PLAIN, similarity_fct="dot_score").similarity_fct is util.dot_score
    assert built("CoSENTLoss", similarity_fct="pairwise_angle_sim").similarity_fct is util.pairwise_angle_sim
    assert (
        built("ContrastiveLoss", distance_metric="EUCLIDEAN").distance_metric
        is embedding.SiameseDistanceMetric.EUCLIDEAN
    )
    assert built("TripletLoss", distance_metric="COSINE").distance_metric is embedding.TripletDistanceMetric.COSINE
    assert (
        built("BatchAllTripletLoss", distance_metric="cosine_distance").distance_metric
        is embedding.BatchHardTripletLossDistanceFunction.cosine_distance
    )
    assert built("EmbedDistillLoss", distance_metric="l2").distance_metric == "l2"
    cosine = built("CosineSimilarityLoss", loss_fct="L1Loss", cos_score_transformation="Sigmoid")
    assert isinstance(cosine.loss_fct, nn.L1Loss)
    assert isinstance(cosine.cos_score_transformation, nn.Sigmoid)
    binary = built("BinaryCrossEntropyLoss", "Reranker", pos_weight=4, activation_fn="Tanh", reduction="sum")
    assert torch.equal(binary.bce_with_logits_loss.pos_weight, torch.tensor(4.0))
    assert isinstance(binary.activation_fn, nn.Tanh)
    assert binary.bce_with_logits_loss.reduction == "sum"
    assert isinstance(built("MSELoss", "Reranker", activation_fn=None).activation_fn, nn.Identity)
    for name in ("LambdaRank", "LambdaRankScheme"):
        scheme = built("LambdaLoss", "Reranker", weighting_scheme=name).weighting_scheme
        assert isinstance(scheme, reranker.LambdaRankScheme)
    assert isinstance(
        built("LambdaLoss", "Reranker", weighting_scheme="No").weighting_scheme, reranker.NoWeightingScheme
    )
    assert built("PListMLELoss", "Reranker", lambda_weight=False).lambda_weight is None
    assert isinstance(
        built("PListMLELoss", "Reranker", lambda_weight=True).lambda_weight, reranker.PListMLELambdaWeight
    )


def test_classes_have_weights_and_smoothing(loss_models: Workspace) -> None:
    arguments = {"weight": [1, 2, 0.5], "label_smoothing": 0.1}

    loss = build(Loss(name="CrossEntropyLoss", arguments=arguments), loss_models, kind="Reranker", num_labels=3)

    assert loss.ce_loss.weight.tolist() == [1.0, 2.0, 0.5]
    assert loss.ce_loss.label_smoothing == 0.1


@pytest.mark.parametrize(
    "name", ["MultipleNegativesSymmetricRankingLoss", f"{CACHED.replace('Ranking', 'SymmetricRanking')}"]
)
def test_a_deprecated_name_is_built_as_the_loss_that_it_stands_for(name: str, loss_models: Workspace) -> None:
    loss = build(Loss(name=name, arguments={"scale": 5}), loss_models)

    assert type(loss).__name__ == name.replace("Symmetric", "")
    assert (loss.directions, loss.partition_mode) == (("query_to_doc", "doc_to_query"), "per_direction")
    assert loss.scale == 5


def test_a_name_that_is_often_quoted_is_taken_for_the_cached_loss_of_rerankers(loss_models: Workspace) -> None:
    loss = build(Loss(name="CachedCrossEncoderLoss"), loss_models, kind="Reranker")

    assert type(loss).__name__ == CACHED
    assert type(loss).__module__.startswith("sentence_transformers.cross_encoder")


def test_documents_are_ordered_by_their_labels_unless_their_own_order_is_asked_for(loss_models: Workspace) -> None:
    asked = Loss(name="ListMLELoss", arguments={"respect_input_order": True})

    assert build(Loss(name="ListMLELoss"), loss_models, kind="Reranker").respect_input_order is False
    assert build(asked, loss_models, kind="Reranker").respect_input_order is True


def test_a_guide_gives_its_opinion_and_learns_nothing(loss_models: Workspace) -> None:
    loss = build(Loss(name="GISTEmbedLoss", guide=GUIDE), loss_models)

    assert not loss.guide.training
    assert not any(parameter.requires_grad for parameter in loss.guide.parameters())
    assert loss.guide is not loss.model
    assert all(parameter.requires_grad for parameter in loss.model.parameters())


def test_matryoshka_dimensions_have_weights(loss_models: Workspace) -> None:
    weighted = Loss(name=PLAIN, matryoshka_dimensions=[32, 8], matryoshka_weights=[1, 0.25])

    loss = build(weighted, loss_models)

    assert (loss.matryoshka_dims, loss.matryoshka_weights) == ((32, 8), (1, 0.25))
    assert build(Loss(name=PLAIN, matryoshka_dimensions=[32, 8]), loss_models).matryoshka_weights == (1, 1)


@pytest.mark.parametrize("name", [PLAIN, CACHED])
def test_some_of_the_dimensions_may_be_drawn_for_each_step(name: str, loss_models: Workspace) -> None:
    drawn = Loss(name=name, arguments={"n_dims_per_step": 1, "scale": 7}, matryoshka_dimensions=[32, 8])

    loss = build(drawn, loss_models)

    assert (loss.matryoshka_dims, loss.n_dims_per_step, loss.loss.scale) == ((32, 8), 1, 7)
    assert build(Loss(name=name, matryoshka_dimensions=[32, 8]), loss_models).n_dims_per_step == -1


def test_a_loss_around_another_shares_the_arguments_with_it(loss_models: Workspace) -> None:
    arguments = {"loss": PLAIN, "scale": 7, "n_layers_per_step": 2, "layer_weighting": "log", "n_dims_per_step": -1}
    around = Loss(name="Matryoshka2dLoss", arguments=arguments, matryoshka_dimensions=[32, 8])

    loss = build(around, loss_models)

    assert (loss.n_layers_per_step, loss.layer_weighting) == (2, "log")
    assert (loss.loss.matryoshka_dims, loss.loss.n_dims_per_step) == ((32, 8), -1)
    assert loss.loss.loss.scale == 7


def test_a_classifier_is_as_large_as_the_embeddings(loss_models: Workspace) -> None:
    loss = build(Loss(name="SoftmaxLoss", arguments={"num_labels": 3}), loss_models)

    assert tuple(loss.classifier.weight.shape) == (3, 3 * 32)


def test_a_decoder_that_shares_weights_keeps_them_in_the_models_precision(loss_models: Workspace) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    from finetune_trainer.recipe.losses.build import build_loss

    model = SentenceTransformer(str(loss_models.base_model), device="cpu", model_kwargs={"dtype": torch.float64})
    loss = build_loss(
        Loss(name="DenoisingAutoEncoderLoss"), model, kind="Embedding", world_size=1, workspace=loss_models
    )

    assert {parameter.dtype for parameter in loss.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Loss(arguments={"temperature": 0.05}), "temperature: 0.05 is wrong because .* has no such argument"),
        (Loss(matryoshka_dimensions=[128]), "Dimensions in matryoshka_dims"),
        (Loss(name="SoftmaxLoss"), "num_labels: None is wrong because SoftmaxLoss needs it"),
        (Loss(arguments={"scale": -1}), "Scale must be a positive value"),
    ],
    ids=["unknown argument", "dimension too large", "missing argument", "impossible value"],
)
def test_what_the_library_refuses_is_the_users_to_correct(loss_models: Workspace, loss: Loss, expected: str) -> None:
    with pytest.raises(RunFailure, match=expected) as caught:
        build(loss, loss_models)

    assert caught.value.reason is Reason.INVALID_ARGUMENT
