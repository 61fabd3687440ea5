"""Every way to say a model: it is checked without weights, loaded, saved, and loaded again as users do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer

from finetune_trainer.prepare.checks.model import inspect_model
from finetune_trainer.recipe.model.load import describe, load_model
from finetune_trainer.train.checkpoints.save import save_model
from tests.trainer.model_folders import (
    CLIP,
    CPU,
    EMBEDDER,
    RERANKER,
    STATIC,
    TEXT,
    VIT,
    VLM,
    load,
    prepare_models,
    red_page,
)

ANY_TO_ANY = {"type": "Transformer", "arguments": {"transformer_task": "any-to-any"}}
LAST_TOKEN = {"type": "Pooling", "arguments": {"pooling_mode": "lasttoken"}}
IMAGE_ROUTE = [{"type": "Transformer"}, {"type": "Pooling"}, {"type": "Dense", "arguments": {"out_features": 384}}]
FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}

ENCODERS: dict[str, dict[str, Any]] = {
    "saved multimodal embedding model": {"source": EMBEDDER, "processorKwargs": {"do_resize": True}},
    "fresh vision-language model": {"source": VLM},
    "fresh vision-language model, modalities stated": {
        "source": VLM,
        "modalities": {"text": FORWARD, "image": FORWARD, "message": FORWARD | {"format": "structured"}},
    },
    "list of modules": {
        "source": VLM,
        "modules": [
            {"type": "Transformer"},
            LAST_TOKEN,
            {"type": "Dense", "arguments": {"out_features": 32, "activation_function": "GELU"}},
            {"type": "LayerNorm"},
            {"type": "Dropout", "arguments": {"dropout": 0.1}},
            {"type": "Normalize"},
        ],
    },
    "layers pooled with weights": {
        "source": VLM,
        "modules": [
            {"type": "Transformer"},
            {"type": "WeightedLayerPooling", "arguments": {"layer_start": 1}},
            {"type": "Pooling"},
        ],
    },
    "two encoders in one": {"source": CLIP},
    "two encoders in one, by its old class": {"source": CLIP, "modules": [{"type": "CLIPModel"}]},
    "text model": {"source": TEXT, "maxSeqLength": 64, "prompts": {"query": "find: "}},
    "list of modules on a saved text model": {
        "source": TEXT,
        "modules": [{"type": "Transformer"}, {"type": "Pooling"}, {"type": "Normalize"}],
    },
    "word vectors": {"source": STATIC},
    "new word vectors": {
        "source": TEXT,
        "modules": [{"type": "StaticEmbedding", "arguments": {"embedding_dim": 24}}],
    },
    "router by modality": {
        "router": {
            "routes": {"text": {"source": TEXT, "freeze": True}, "image": {"source": VIT, "modules": IMAGE_ROUTE}}
        }
    },
    "router by task": {"router": {"by": "Task", "routes": {"query": {"source": STATIC}, "document": {"source": TEXT}}}},
    "adapters": {"source": EMBEDDER, "lora": {"rank": 4}},
}
TEXT_ONLY = (
    "text model",
    "list of modules on a saved text model",
    "word vectors",
    "new word vectors",
    "router by task",
)

RERANKERS: dict[str, dict[str, Any]] = {
    "saved reranker": {"source": RERANKER},
    "text model with a new head": {"source": TEXT},
    "text model with a new head of three": {"source": TEXT, "numLabels": 3},
    "text model as a list of modules": {
        "source": TEXT,
        "numLabels": 2,
        "modules": [{"type": "Transformer", "arguments": {"transformer_task": "sequence-classification"}}],
    },
    "language model head": {
        "source": VLM,
        "modules": [ANY_TO_ANY, {"type": "LogitScore", "arguments": {"true_token": "1", "false_token": "0"}}],
    },
    "dense head on the last token": {
        "source": VLM,
        "modules": [
            {"type": "Transformer"},
            LAST_TOKEN,
            {
                "type": "Dense",
                "arguments": {
                    "out_features": 1,
                    "bias": False,
                    "activation_function": "Identity",
                    "module_output_name": "scores",
                    "true_token": "1",
                    "false_token": "0",
                },
            },
        ],
    },
}
WITH_IMAGES = ("language model head", "dense head on the last token")


def number_of(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("path", ENCODERS)
def test_an_encoder_gives_the_same_after_it_was_saved_and_loaded_as_users_do(path: str, tmp_path: Path) -> None:
    model = load(tmp_path, **ENCODERS[path])
    model.eval()
    images = [] if path in TEXT_ONLY else [red_page()]
    batches = [["which page has a chart?", "blue"], images] if images else [["which page has a chart?", "blue"]]
    before = [model.encode_query(batch) for batch in batches] + [model.encode_document(batch) for batch in batches]

    save_model(model, tmp_path / "saved")
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")

    after = [again.encode_query(batch) for batch in batches] + [again.encode_document(batch) for batch in batches]
    for expected, found in zip(before, after, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert again.prompts == model.prompts
    assert again.max_seq_length == model.max_seq_length


@pytest.mark.parametrize("path", RERANKERS)
def test_a_reranker_gives_the_same_after_it_was_saved_and_loaded_as_users_do(path: str, tmp_path: Path) -> None:
    model = load(tmp_path, kind="Reranker", **RERANKERS[path])
    pairs: list[Any] = [("which page has a chart?", "the blue table"), ("blue", "red")]
    if path in WITH_IMAGES:
        pairs += [("which page has a chart?", red_page()), (red_page(), "red")]
    before = model.predict(pairs)

    save_model(model, tmp_path / "saved")
    again = CrossEncoder(str(tmp_path / "saved"), device="cpu")

    np.testing.assert_allclose(again.predict(pairs), before, atol=1e-6)
    assert len(np.unique(before)) == before.size
    assert again.num_labels == model.num_labels


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        *(("Embedding", fields) for fields in ENCODERS.values()),
        *(("Reranker", fields) for fields in RERANKERS.values()),
    ],
    ids=[*ENCODERS, *RERANKERS],
)
def test_what_is_found_without_weights_is_what_is_loaded(kind: str, fields: dict[str, Any], tmp_path: Path) -> None:
    spec, workspace = prepare_models(tmp_path, kind=kind, **fields)

    found = inspect_model(spec, workspace)

    loaded = load_model(spec, workspace, device=CPU, seed=0)
    told = describe(loaded, revision=None)
    assert (found.modalities, found.embedding_dimension) == (told.modalities, told.embedding_dimension)
    shapes = {name: (value.shape, value.dtype, value.requires_grad) for name, value in loaded.named_parameters()}
    assert {name: (v.shape, v.dtype, v.requires_grad) for name, v in found.loaded.named_parameters()} == shapes


@pytest.mark.parametrize("path", ["list of modules", "router by modality", "adapters"])
def test_a_saved_model_names_no_path_of_this_machine_and_no_adapter(path: str, tmp_path: Path) -> None:
    save_model(load(tmp_path, **ENCODERS[path]), tmp_path / "saved")

    files = [file for file in (tmp_path / "saved").rglob("*") if file.is_file()]
    assert [file.name for file in files if str(tmp_path).encode() in file.read_bytes()] == []
    assert [file.name for file in files if "adapter" in file.name] == []


def test_what_follows_from_the_modules_before_is_filled_in(tmp_path: Path) -> None:
    model = load(tmp_path, **ENCODERS["list of modules"])

    assert [type(module).__name__ for module in model] == [
        "Transformer",
        "Pooling",
        "Dense",
        "LayerNorm",
        "Dropout",
        "Normalize",
    ]
    assert model[1].get_config_dict() == {
        "embedding_dimension": 64,
        "pooling_mode": "lasttoken",
        "include_prompt": True,
    }
    assert (model[2].in_features, model[2].out_features, type(model[2].activation_function).__name__) == (
        64,
        32,
        "GELU",
    )
    assert model[3].dimension == 32


@pytest.mark.parametrize("source", [VLM, TEXT])
def test_layers_pooled_with_weights_depend_on_the_weights(source: str, tmp_path: Path) -> None:
    model = load(tmp_path, **ENCODERS["layers pooled with weights"] | {"source": source})
    before = model.encode("which page has a chart?")

    with torch.no_grad():
        model[1].layer_weights[0] += 5

    assert np.abs(model.encode("which page has a chart?") - before).max() > 0.01


def test_a_dense_layer_keeps_the_activation_of_the_library_unless_one_is_named(tmp_path: Path) -> None:
    dense = {"type": "Dense", "arguments": {"out_features": 8}}
    plain = {"type": "Dense", "arguments": {"out_features": 8, "activation_function": None}}
    modules = [{"type": "Transformer"}, {"type": "Pooling"}, dense, plain]

    model = list(load(tmp_path, source=TEXT, modules=modules))

    assert [type(module.activation_function).__name__ for module in model[2:]] == ["Tanh", "Identity"]


def test_settings_that_were_saved_with_a_model_hold_for_its_transformer_in_a_list(tmp_path: Path) -> None:
    saved, listed = (
        load(tmp_path / path, **ENCODERS[path]) for path in ("text model", "list of modules on a saved text model")
    )

    assert listed.max_seq_length == SentenceTransformer(str(tmp_path / "text model/inputs/model")).max_seq_length == 256
    assert saved.max_seq_length == 64
    assert listed[0].modality_config == saved[0].modality_config


def test_stated_modalities_replace_what_is_detected(tmp_path: Path) -> None:
    stated = load(tmp_path, **ENCODERS["fresh vision-language model, modalities stated"])

    assert stated.modalities == ["text", "image", "message"]
    assert stated[0].get_config_dict()["modality_config"] == {
        "text": FORWARD,
        "image": FORWARD,
        "message": FORWARD | {"format": "structured"},
    }
    assert [type(module) for module in stated] == [Transformer, Pooling]


def test_modalities_may_name_several_at_once_and_methods_that_give_whole_embeddings(tmp_path: Path) -> None:
    methods = {"image": {"method": "get_image_features", "method_output_name": "pooler_output"}}

    together = load(tmp_path, source=VLM, modalities={"text": FORWARD, "image+text": FORWARD})
    whole = load(tmp_path, source=VLM, modalities=methods)

    assert together.modalities == ["text", ("image", "text")]
    assert [type(module) for module in whole] == [Transformer]
    assert whole[0].module_output_name == "sentence_embedding"


def test_what_ran_is_described(tmp_path: Path) -> None:
    model = load(tmp_path, source=EMBEDDER, dtype="bfloat16", attention="eager")

    encoder = describe(model, revision="abc")
    reranker = describe(load(tmp_path / "reranker", kind="Reranker", **RERANKERS["language model head"]), revision=None)

    assert encoder.model_dump() == {
        "revision": "abc",
        "modalities": ["text", "image", "video", "message"],
        "embedding_dimension": 64,
        "attention": "eager",
        "dtype": "bfloat16",
        "parameters": number_of(model),
        "trainable_parameters": number_of(model),
        "checkpoint_bytes": None,
    }
    assert (reranker.embedding_dimension, reranker.attention, reranker.dtype) == (None, "sdpa", "float32")


def test_parameters_that_are_frozen_or_behind_adapters_are_not_counted_as_trained(tmp_path: Path) -> None:
    whole = load(tmp_path, source=EMBEDDER)
    frozen = describe(load(tmp_path, source=EMBEDDER, freeze=["0.model.visual.*"]), revision=None)
    adapted = describe(load(tmp_path, source=EMBEDDER, lora={"rank": 4}), revision=None)

    assert (frozen.parameters, frozen.trainable_parameters) == (
        number_of(whole),
        number_of(whole) - number_of(whole[0].model.visual),
    )
    # Two layers of width 64: queries and outputs 64, keys and values 32, three projections to and from 128.
    sizes = 2 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128))
    assert (adapted.parameters, adapted.trainable_parameters) == (number_of(whole) + 4 * sizes, 4 * sizes)


@pytest.mark.parametrize("kind", ["Embedding", "Reranker"])
def test_new_layers_come_from_the_seed_and_leave_the_global_generator_alone(kind: str, tmp_path: Path) -> None:
    dense = {"type": "Dense", "arguments": {"out_features": 8}}
    modules = [{"type": "Transformer"}, {"type": "Pooling"}, dense] if kind == "Embedding" else []
    newest = "2.linear.weight" if kind == "Embedding" else "0.model.classifier.weight"
    state = torch.get_rng_state()

    first, same, other = (
        load(tmp_path, seed=seed, kind=kind, source=TEXT, modules=modules).get_parameter(newest) for seed in (3, 3, 4)
    )

    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_list_makes_what_the_library_makes_of_it(tmp_path: Path) -> None:
    spec, workspace = prepare_models(tmp_path, **ENCODERS["list of modules"])
    folder = str(workspace.base_model)

    model = load_model(spec, workspace, device=CPU, seed=0)
    transformer = Transformer(folder)
    by_hand = SentenceTransformer(
        modules=[transformer, Pooling(64, "lasttoken"), Dense(64, 32), LayerNorm(32), Normalize()], device="cpu"
    )
    by_hand[2].load_state_dict(model[2].state_dict())
    by_hand[2].activation_function = model[2].activation_function

    np.testing.assert_allclose(model.encode("blue"), by_hand.encode("blue"), atol=1e-6)
