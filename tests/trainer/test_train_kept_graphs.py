# ruff: noqa: ANN401 - torch's and the library's types are imported where a test needs them
"""Gradient-cached losses: mini-batches whose graphs fit in memory are embedded once, with the same gradient."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLENTY, NOTHING = 10**12, 0
QUERIES = [f"question number {n}" for n in range(4)]
ANSWERS = [f"answer number {n} " * (n + 1) for n in range(4)]


@pytest.fixture
def model(text_model: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(text_model), device="cpu")
    for module in model.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.1  # chance has to fall the same in both passes
    return model.train()


def ranking_loss(model: Any) -> Any:
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MatryoshkaLoss

    return MatryoshkaLoss(model, CachedMultipleNegativesRankingLoss(model, mini_batch_size=1), [384, 64])


def guided_loss(model: Any) -> Any:
    import copy

    from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss

    return CachedGISTEmbedLoss(model, copy.deepcopy(model).eval(), mini_batch_size=1)


def step(model: Any, loss: Any, kept: Any, answers: list[str] = ANSWERS) -> tuple[int, Any]:
    """Make one forward and backward pass from the same chance; return how often the model ran, and the gradient."""
    import torch

    runs = 0

    def count(*_: Any) -> None:
        nonlocal runs
        runs += 1

    handle = model[0].register_forward_pre_hook(count)
    torch.manual_seed(0)
    model.zero_grad()
    with kept.step():
        loss([model.preprocess(QUERIES), model.preprocess(answers)], None).backward()
    handle.remove()
    return runs, torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


def kept_graphs(loss: Any, room: int) -> Any:
    from finetune_trainer.train.loop.kept_graphs import KeptGraphs
    from finetune_trainer.train.loop.mini_batches import cached_loss

    return KeptGraphs(cached_loss(loss), room=lambda _: room)


@pytest.mark.parametrize("build", [ranking_loss, guided_loss])
def test_after_a_first_step_each_mini_batch_is_embedded_once_with_the_very_same_gradient(
    model: Any, build: Callable[[Any], Any]
) -> None:
    import torch

    loss = build(model)
    kept = kept_graphs(loss, PLENTY)

    (first, expected), (second, gradient), (third, again) = (step(model, loss, kept) for _ in range(3))

    assert (first, second, third) == (16, 8, 8)
    assert torch.equal(gradient, expected)
    assert torch.equal(again, expected)


def test_without_room_nothing_is_kept(model: Any) -> None:
    loss = ranking_loss(model)
    kept = kept_graphs(loss, NOTHING)

    runs = [step(model, loss, kept)[0] for _ in range(2)]

    assert runs == [16, 16]


def test_on_a_cpu_nothing_is_kept_nor_measured(model: Any) -> None:
    from finetune_trainer.train.loop.kept_graphs import KeptGraphs
    from finetune_trainer.train.loop.mini_batches import cached_loss

    loss = ranking_loss(model)
    kept = KeptGraphs(cached_loss(loss))

    runs = [step(model, loss, kept)[0] for _ in range(2)]

    assert (runs, kept.largest_bytes) == ([16, 16], 0)


def test_as_many_graphs_are_kept_as_there_is_room_for(model: Any) -> None:
    loss = ranking_loss(model)
    measuring = kept_graphs(loss, PLENTY)
    step(model, loss, measuring, answers=QUERIES)
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    kept = kept_graphs(loss, int(weights + measuring.largest_bytes * 4.5))

    runs = [step(model, loss, kept, answers=QUERIES)[0] for _ in range(2)]

    assert runs == [16, 16 - 3]


def test_longer_texts_are_measured_before_they_are_kept_and_then_fewer_fit(model: Any) -> None:
    long = [f"answer number {n} " * 40 for n in range(4)]
    loss = ranking_loss(model)
    measuring = kept_graphs(loss, PLENTY)
    step(model, loss, measuring, answers=QUERIES)
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    kept = kept_graphs(loss, int(weights + measuring.largest_bytes * 9.5))

    short_runs = [step(model, loss, kept, answers=QUERIES)[0] for _ in range(2)]
    long_runs = [step(model, loss, kept, answers=long)[0] for _ in range(2)]

    assert short_runs == [16, 8]
    assert long_runs == [16 - len(QUERIES), 16 - len(QUERIES)]


def test_the_model_is_as_it_was_when_the_step_is_over_and_when_it_failed(model: Any) -> None:
    loss = ranking_loss(model)
    kept = kept_graphs(loss, PLENTY)
    step(model, loss, kept)

    broken = {"attention_mask": model.preprocess(ANSWERS)["attention_mask"]}

    with pytest.raises(ValueError, match="input_ids"), kept.step():
        loss([model.preprocess(QUERIES), broken], None)

    assert "forward" not in vars(model)
    assert step(model, loss, kept)[0] == 8


def test_memory_that_ran_out_halves_the_keeping_until_the_largest_graph_does_not_fit(model: Any) -> None:
    loss = ranking_loss(model)
    measuring = kept_graphs(loss, PLENTY)
    step(model, loss, measuring, answers=QUERIES)
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    kept = kept_graphs(loss, int(weights + measuring.largest_bytes * 5.5))
    step(model, loss, kept, answers=QUERIES)
    runs = [step(model, loss, kept, answers=QUERIES)[0]]

    for _ in range(3):
        kept.keep_fewer()
        runs.append(step(model, loss, kept, answers=QUERIES)[0])

    assert runs == [16 - 4, 16 - 2, 16 - 1, 16]


def test_while_gradients_are_added_up_in_the_first_step_the_room_of_the_optimizer_is_not_taken(model: Any) -> None:
    loss = ranking_loss(model)
    kept = kept_graphs(loss, PLENTY)
    step(model, loss, kept)

    with kept.step():
        loss([model.preprocess(QUERIES), model.preprocess(ANSWERS)], None).backward()
    during = kept.limit
    model.zero_grad()
    step(model, loss, kept)

    assert (during, kept.limit > 0) == (0, True)


def test_graphs_of_shorter_texts_take_no_more_than_is_counted_under_autocast_which_copies_all_weights(
    model: Any,
) -> None:
    import torch

    from finetune_trainer.train.loop.kept_graphs import GraphSizes, describe, saved_bytes

    def measure(words: int) -> tuple[int, int]:
        features = model.preprocess(["word " * words] * 4)
        with torch.autocast("cpu", dtype=torch.bfloat16), saved_bytes(model) as sizes:
            model(features)
        return describe([features], {})[1], sum(sizes.values())

    (longest, most), (shortest, least), *between = (measure(words) for words in (120, 4, 60, 15, 8))
    one, both = GraphSizes(), GraphSizes()
    one.add(longest, most)
    both.add(longest, most)
    both.add(shortest, least)

    assert least > 3 * most * shortest / longest
    assert one.bytes_for(shortest) == most
    for num_elements, num_bytes in between:
        assert num_bytes <= (both.bytes_for(num_elements) or 0) < (one.bytes_for(num_elements) or 0)
    assert one.is_worth_measuring(shortest)
    assert not both.is_worth_measuring(between[0][0])


def test_a_reranker_scores_each_pair_once(tmp_path: Path) -> None:
    import torch
    from sentence_transformers.cross_encoder import CrossEncoder
    from sentence_transformers.cross_encoder.losses import CachedMultipleNegativesRankingLoss
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    size: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), intermediate_size=16, num_labels=1, **size)
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    model = CrossEncoder(str(tmp_path), device="cpu").train()
    loss = CachedMultipleNegativesRankingLoss(model, num_negatives=None, mini_batch_size=1)
    kept = kept_graphs(loss, PLENTY)
    found = []
    for _ in range(2):
        calls: list[int] = []
        handle = model[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(0)
        model.zero_grad()
        with kept.step():
            loss([["a", "b"], ["b", "c"]], None).backward()
        handle.remove()
        found.append(
            (len(calls), torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
        )

    (first, expected), (second, gradient) = found

    assert (first, second) == (8, 4)
    assert torch.equal(gradient, expected)
