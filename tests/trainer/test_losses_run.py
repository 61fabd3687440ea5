"""Every loss of the tables, really run."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from finetune_api.losses import EMBEDDING_LOSSES, RERANKER_LOSSES, losses_of
from finetune_api.objective import Loss
from finetune_api.workspace import Workspace
from tests.trainer.loss_cases import DIMENSION, Case, cases, load, step

if TYPE_CHECKING:
    from torch.nn import Module


def fits_around(case: Case) -> bool:
    """Say whether AdaptiveLayerLoss may be put around the loss: one case of each such loss."""
    rule = losses_of(case.kind)[case.loss.name]
    return (
        not rule.wraps
        and not rule.no_layers
        and case.kind == "Embedding"
        and case.num_negatives < 2
        and not case.labels_many
    )


@pytest.mark.parametrize("case", [*cases(matryoshka=False), *cases(matryoshka=True)], ids=str)
def test_a_loss_moves_every_weight_with_each_form_of_rows_that_it_takes(case: Case, loss_models: Workspace) -> None:
    import torch

    torch.manual_seed(0)
    model = load(loss_models, case)

    loss, value = step(case, model, loss_models, case.rows(6))

    assert torch.isfinite(value)
    assert still_weights(loss) == []


def is_refused_dimensions(case: Case) -> bool:
    """Say whether the loss takes no dimensions, though its embeddings could be cut."""
    return case.kind == "Embedding" and not losses_of(case.kind)[case.loss.name].matryoshka


@pytest.mark.parametrize("case", [case for case in cases(matryoshka=False) if is_refused_dimensions(case)], ids=str)
def test_a_loss_that_takes_no_dimensions_breaks_when_embeddings_are_cut(
    case: Case, loss_models: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

    from finetune_trainer.recipe.losses.build import build_loss

    monkeypatch.setattr(
        "tests.trainer.loss_cases.build_loss",
        lambda loss, model, **settings: MatryoshkaLoss(model, build_loss(loss, model, **settings), [DIMENSION, 8]),
    )

    with pytest.raises((RuntimeError, TypeError, AttributeError), match=r"shape|size|'dict'|num_layers"):
        step(case, load(loss_models, case), loss_models, case.rows(6))


@pytest.mark.parametrize("case", [case for case in cases(matryoshka=False) if fits_around(case)], ids=str)
def test_a_loss_of_all_layers_goes_around_those_that_are_not_refused(case: Case, loss_models: Workspace) -> None:
    import torch

    around = {"name": "AdaptiveLayerLoss", "arguments": {**case.loss.arguments, "loss": case.loss.name}}
    wrapped = replace(case, loss=Loss.model_validate(around))
    torch.manual_seed(0)
    model = load(loss_models, wrapped)

    loss, value = step(wrapped, model, loss_models, wrapped.rows(6))

    assert torch.isfinite(value)
    assert still_weights(loss) == []


def still_weights(loss: "Module") -> list[str]:
    """Return the names of matrices that a backward pass gave no finite gradient, but for BERT's pooler of no use."""
    import torch

    trained = [(name, one.grad) for name, one in loss.named_parameters() if one.requires_grad and one.ndim > 1]
    return [
        name
        for name, grad in trained
        if "pooler" not in name and (grad is None or not grad.abs().sum() > 0 or not torch.isfinite(grad).all())
    ]


def test_both_tables_name_the_same_losses() -> None:
    from finetune_trainer.recipe.losses.table import EMBEDDING, RERANKER

    assert sorted(EMBEDDING) == sorted(EMBEDDING_LOSSES)
    assert sorted(RERANKER) == sorted(RERANKER_LOSSES)


#: Losses of the library that no job names, and what stands for them.
NOT_NAMED = {
    "MatryoshkaLoss": "spec.training.loss.matryoshkaDimensions",
}


@pytest.mark.parametrize("family", ["sentence_transformer", "cross_encoder"])
def test_every_loss_of_the_library_is_in_a_table_or_has_a_reason_why_not(family: str) -> None:
    import importlib

    from finetune_trainer.recipe.losses.table import EMBEDDING, RERANKER

    library = importlib.import_module(f"sentence_transformers.{family}.losses")
    losses = {name for name in library.__all__ if name.endswith("Loss")} | {
        name for name in library.__all__ if name.endswith("InBatchNegatives")
    }

    table = {**EMBEDDING, **NOT_NAMED} if family == "sentence_transformer" else RERANKER

    assert set(table) == losses


def test_the_pairs_of_contrastive_tension_are_alike_where_the_texts_are_the_same(loss_models: Workspace) -> None:
    import torch

    (case,) = (case for case in cases(matryoshka=False) if case.loss.name == "ContrastiveTensionLoss")
    same = {"query": "a red lighthouse", "positive": "a red lighthouse"}
    other = {"query": "a red lighthouse", "positive": "bread and a very cold river"}
    model = load(loss_models, case)
    similarity = [
        float(model.similarity_pairwise(*model.encode(list(row.values()), convert_to_tensor=True)[:, None]))
        for row in (same, other)
    ]

    _, value = step(case, model, loss_models, [same, other])

    odds = torch.tensor(similarity)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(odds, torch.tensor([1.0, 0.0]), reduction="sum")
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
