"""Which files of a saved model are published: all that the library needs, of every kind of model, and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune_api.reasons import Reason
from finetune_trainer.publish.model_files import list_model_files
from finetune_trainer.workspace.failures import RunFailure
from tests.trainer.rerankers import build_tiny_reranker


def save(model: Any, folder: Path) -> Path:  # noqa: ANN401 - torch is imported late
    from finetune_trainer.train.checkpoints.save import save_model

    folder.mkdir()
    save_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def router(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with encoders of their own for queries and documents."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    routes = {role: list(SentenceTransformer(str(tiny_model), device="cpu")) for role in ("query", "document")}
    model = SentenceTransformer(modules=[Router(routes, default_route="document")], device="cpu")
    return save(model, tmp_path_factory.mktemp("router") / "model")


def test_all_that_an_embedding_model_saves_is_published(tiny_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = save(SentenceTransformer(str(tiny_model), device="cpu"), tmp_path / "model")

    found = list_model_files(folder)

    assert found.left_out == []
    assert {"modules.json", "model.safetensors", "1_Pooling/config.json"} <= found.files.keys()


def test_all_that_a_reranker_saves_is_published(tiny_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    build_tiny_reranker(tmp_path / "built", embedding_model=tiny_model)
    folder = save(CrossEncoder(str(tmp_path / "built"), device="cpu"), tmp_path / "model")

    found = list_model_files(folder)

    assert found.left_out == []
    assert {"modules.json", "model.safetensors", "2_Dense/model.safetensors"} <= found.files.keys()


def test_a_classifier_that_becomes_a_reranker_saves_modules_too(tmp_path: Path, text_model: Path) -> None:
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=30_522,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        num_labels=1,
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "plain")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(text_model / name, tmp_path / "plain")

    found = list_model_files(save(CrossEncoder(str(tmp_path / "plain"), device="cpu"), tmp_path / "model"))

    assert found.left_out == []
    assert {"modules.json", "config.json", "model.safetensors"} <= found.files.keys()


def test_all_that_a_router_saves_is_published(router: Path) -> None:
    found = list_model_files(router)

    assert found.left_out == []
    assert {f"{role}_0_Transformer/model.safetensors" for role in ("query", "document")} <= found.files.keys()
    assert {"modules.json", "router_config.json"} <= found.files.keys()


def test_adapters_are_published_as_part_of_the_weights(tiny_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from finetune_api.model import Lora
    from finetune_trainer.recipe.model.adapters import add_adapters

    model = SentenceTransformer(str(tiny_model), device="cpu")
    add_adapters(model, Lora(rank=2))

    found = list_model_files(save(model, tmp_path / "model"))

    assert found.left_out == []
    assert [name for name in found.files if "adapter" in name] == []
    assert sorted(found.files) == sorted(list_model_files(tiny_model).files)


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("modules.json", "modules.json"),
        ("query_0_Transformer/model.safetensors", "query_0_Transformer/*.safetensors"),
    ],
)
def test_a_router_that_lacks_a_part_is_never_published(router: Path, tmp_path: Path, lost: str, told: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(router, folder)
    (folder / lost).unlink()

    with pytest.raises(RunFailure) as failure:
        list_model_files(folder)

    assert failure.value.reason is Reason.TRAINER_ERROR
    assert failure.value.message == f"train/model has no {told}, so it is no whole model; train it again"


def test_a_model_that_lacks_one_of_its_shards_is_never_published(small_model: Path) -> None:
    shards = {"weight": "model-00001-of-00002.safetensors", "bias": "model-00002-of-00002.safetensors"}
    (small_model / "model.safetensors").rename(small_model / shards["weight"])
    (small_model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))

    with pytest.raises(RunFailure, match=r"has no model-00002-of-00002\.safetensors, so"):
        list_model_files(small_model)
