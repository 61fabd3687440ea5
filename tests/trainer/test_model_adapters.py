"""Low-rank adapters: what they train, and that a saved model needs none of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_model as read_weights
from safetensors.torch import save_model as write_weights
from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_trainer.train.checkpoints.save import save_model
from tests.trainer.model_folders import EMBEDDER, TEXT, VLM, load, red_page

SCORED = [
    {"type": "Transformer", "arguments": {"transformer_task": "any-to-any"}},
    {"type": "LogitScore", "arguments": {"true_token": "1", "false_token": "0"}},
]
PAIRS = [("which page?", "the blue table"), ("blue", "red")]


def trained_names(model: torch.nn.Module) -> Iterator[str]:
    return (name for name, parameter in model.named_parameters() if parameter.requires_grad)


def let_adapters_matter(model: torch.nn.Module) -> None:
    """Adapters begin as nothing; give them weights, as training does."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1


def test_a_merged_model_embeds_like_the_model_with_adapters(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, lora={"rank": 4, "alpha": 8, "dropout": 0.3})
    untrained = model.encode(["which page has a chart?", red_page()])
    let_adapters_matter(model)
    model.eval()
    expected = model.encode(["which page has a chart?", red_page()])

    save_model(model, tmp_path / "saved")

    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.encode(["which page has a chart?", red_page()]), expected, atol=1e-5)
    assert np.abs(expected - untrained).max() > 1e-2
    assert [name for name, _ in again.named_parameters() if "lora" in name] == []


def test_adapters_of_a_convolution_are_merged_too(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, lora={"rank": 4, "targetModules": ["proj"]})
    untrained = model.encode([red_page()])
    let_adapters_matter(model)
    expected = model.encode([red_page()])
    assert any("patch_embed.proj.lora" in name for name in trained_names(model))

    save_model(model, tmp_path / "saved")

    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.encode([red_page()]), expected, atol=1e-5)
    assert np.abs(expected - untrained).max() > 1e-2
    assert [name for name, _ in again.named_parameters() if "lora" in name] == []


def test_a_merged_reranker_scores_like_the_model_with_adapters(tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", source=VLM, modules=SCORED, lora={"rank": 4})
    untrained = model.predict(PAIRS)
    let_adapters_matter(model)
    expected = model.predict(PAIRS)

    save_model(model, tmp_path / "saved")

    np.testing.assert_allclose(CrossEncoder(str(tmp_path / "saved"), device="cpu").predict(PAIRS), expected, atol=1e-5)
    assert np.abs(expected - untrained).max() > 1e-4


def test_writing_a_model_leaves_the_one_in_memory_as_it_was(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, lora={"rank": 4})
    let_adapters_matter(model)
    before = {name: (id(value), value.detach().clone()) for name, value in model.named_parameters()}
    trained = list(trained_names(model))

    save_model(model, tmp_path / "saved")

    assert [(name, id(value)) for name, value in model.named_parameters()] == [
        (name, identity) for name, (identity, _) in before.items()
    ]
    assert all(torch.equal(value, before[name][1]) for name, value in model.named_parameters())
    assert list(trained_names(model)) == trained


def test_a_model_that_cannot_be_written_is_whole_afterwards(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, lora={"rank": 4})
    names = [name for name, _ in model.named_parameters()]
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OSError, match="file"):
        save_model(model, tmp_path / "file")

    assert [name for name, _ in model.named_parameters()] == names


def test_training_goes_on_after_a_model_was_written(tmp_path: Path) -> None:
    model = load(tmp_path, source=TEXT, lora={"rank": 2})
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0)

    def step() -> None:
        model(model.preprocess(["a question"]))["sentence_embedding"].sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    save_model(model, tmp_path / "saved")
    between = model.encode("a question")
    step()

    assert np.abs(model.encode("a question") - between).max() > 1e-4


def test_only_adapters_of_the_language_model_are_trained_unless_layers_are_named(tmp_path: Path) -> None:
    everywhere = set(trained_names(load(tmp_path, source=EMBEDDER, lora={})))
    named = set(trained_names(load(tmp_path, source=EMBEDDER, lora={"targetModules": ["q_proj", "qkv"]})))

    attention = [f"self_attn.{matrix}_proj" for matrix in "qkvo"]
    layers = [*attention, *(f"mlp.{name}_proj" for name in ("gate", "up", "down"))]
    assert everywhere == {
        f"0.model.language_model.layers.{layer}.{name}.lora_{matrix}.default.weight"
        for layer in (0, 1)
        for name in layers
        for matrix in "AB"
    }
    assert {name.split(".lora_")[0] for name in named} == {
        *(f"0.model.language_model.layers.{layer}.self_attn.q_proj" for layer in (0, 1)),
        *(f"0.model.visual.blocks.{layer}.attn.qkv" for layer in (0, 1)),
    }


def test_what_comes_after_the_transformer_is_trained_beside_the_adapters(tmp_path: Path) -> None:
    dense = {"type": "Dense", "arguments": {"out_features": 8}}
    modules = [{"type": "Transformer"}, {"type": "Pooling"}, dense]

    encoder = load(tmp_path, source=TEXT, modules=modules, lora={"targetModules": ["query"]})
    classifier = load(tmp_path, kind="Reranker", source=TEXT, lora={"targetModules": ["query"]})

    assert [name for name in trained_names(encoder) if "lora" not in name] == ["2.linear.weight", "2.linear.bias"]
    assert [name for name in trained_names(classifier) if "lora" not in name] == [
        "0.model.classifier.weight",
        "0.model.classifier.bias",
    ]


def test_the_head_of_a_generative_reranker_stays_as_it_is(tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", source=VLM, modules=SCORED, lora={})

    assert [name for name in trained_names(model) if "lora" not in name] == []


def test_adapters_are_float32_on_weights_of_half_precision(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, dtype="bfloat16", lora={"rank": 4})

    kinds = {("lora" in name, parameter.dtype) for name, parameter in model.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


def test_a_merged_model_of_half_precision_stays_near_the_model_with_adapters(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, dtype="bfloat16", lora={"rank": 4})
    let_adapters_matter(model)
    expected = model.encode(["which page has a chart?", red_page()])

    save_model(model, tmp_path / "saved")

    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    found = again.encode(["which page has a chart?", red_page()])
    assert again.dtype == torch.bfloat16
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > 0.995


def test_the_state_of_a_training_with_adapters_can_be_read_again(tmp_path: Path) -> None:
    lora = {"rank": 4}
    model = load(tmp_path, source=EMBEDDER, lora=lora)
    let_adapters_matter(model)
    write_weights(model, str(tmp_path / "state.safetensors"))

    resumed = load(tmp_path, source=EMBEDDER, lora=lora, seed=5)
    before = resumed.encode("blue")
    read_weights(resumed, tmp_path / "state.safetensors")

    np.testing.assert_allclose(resumed.encode("blue"), model.encode("blue"), atol=1e-7)
    assert np.abs(before - model.encode("blue")).max() > 1e-3
