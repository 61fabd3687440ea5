"""The same seed gives the same training, and a training that stops after any step goes on as if it had not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl, build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import belong_to, draw_pages, prepare_sets, run_config, text_set
from tests.trainer.trainers import (
    CACHED,
    DENSE_RERANKER,
    PLAIN,
    SAVE_EACH_STEP,
    VLM_RERANKER,
    train_and_resume_after_each_step,
    train_in_turn,
)

SENTENCES = ["question number 1 of a page", "answer number 23 to it"]
SHORT_RERANKING = {
    "loss": {"name": PLAIN, "arguments": {"num_negatives": 1}},
    "perDeviceTrainBatchSize": 2,
    "maxSteps": 4,
}
NAMES = ("first", "second", "other")


@pytest.fixture(scope="module")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedding")
    build_tiny_qwen3_vl(folder, sentences=SENTENCES)
    return folder


@pytest.fixture(scope="module")
def generative_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generative")
    build_tiny_qwen3_vl_checkpoint(folder, sentences=SENTENCES)
    return folder


def texts(kind: str, count: int) -> list[str]:
    return [f"{kind} number {number}" for number in range(count)]


def adapters_in_accumulated_batches(root: Path, model: Path) -> RunConfig:
    training = {
        "loss": {"name": CACHED, "matryoshkaDimensions": [64, 16]},
        "perDeviceTrainBatchSize": 2,
        "arguments": {"gradient_accumulation_steps": 2},
        "maxSteps": 5,
    }
    config = run_config(
        model={"source": "hf://demo/tiny", "lora": {"dropout": 0.2}}, training=training, **SAVE_EACH_STEP
    )
    prepare_sets(
        root, config, model=model, sets=[text_set("pages", {"query": texts("q", 12), "positive": texts("a", 12)})]
    )
    return config


def sets_with_losses_of_their_own(root: Path, model: Path) -> RunConfig:
    pages = {"name": "pages", "source": "hf://demo/pages"}
    classes = {
        "name": "sorted",
        "source": "hf://demo/sorted",
        "columns": {"query": "query", "document": "document", "label": "label"},
        "loss": {"name": "SoftmaxLoss", "arguments": {"num_labels": 3}},  # it trains a layer of its own
    }
    training = {"loss": {"name": CACHED}, "perDeviceTrainBatchSize": 2, "maxSteps": 6}
    config = run_config(data={"train": [pages, classes]}, training=training, **SAVE_EACH_STEP)
    cells: dict[str, list[Any]] = {
        "query": texts("query", 8),
        "document": texts("document", 8),
        "label": [number % 3 for number in range(8)],
    }
    sets = [
        text_set("pages", {"query": texts("q", 12), "positive": texts("a", 12), "negative_0": texts("n", 12)}),
        text_set("sorted", cells, label=Label.CLASS),
    ]
    prepare_sets(root, config, model=model, sets=sets)
    return config


def reranker_of_images(root: Path, model: Path, *, reranker: dict[str, Any] = VLM_RERANKER) -> RunConfig:
    config = run_config(model=reranker, training=SHORT_RERANKING, **SAVE_EACH_STEP)
    questions, pages = draw_pages(Workspace(root), count=12)
    prepare_sets(
        root,
        config,
        model=model,
        sets=[text_set("pages", {"query": questions, "positive": pages}, images=["positive"])],
    )
    return config


def reranker_with_a_new_layer(root: Path, model: Path) -> RunConfig:
    return reranker_of_images(root, model, reranker=DENSE_RERANKER)


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    training = config.spec.training.model_copy(update={"seed": seed})
    return config.model_copy(update={"spec": config.spec.model_copy(update={"training": training})})


@pytest.mark.parametrize(
    ("make", "model", "world_size"),
    [
        (reranker_of_images, "generative_model", 2),
        (reranker_with_a_new_layer, "generative_model", 2),
        (adapters_in_accumulated_batches, "embedding_model", 1),
    ],
    ids=["reranker-of-images", "reranker-with-a-new-layer", "adapters-with-dropout"],
)
def test_the_same_seed_gives_the_same_losses_and_weights_twice(
    make: Callable[[Path, Path], RunConfig],
    model: str,
    world_size: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    configs = [make(tmp_path / name, request.getfixturevalue(model)) for name in NAMES]
    configs[2] = with_seed(configs[2], 7)
    belong_to(Workspace(tmp_path / "other"), configs[2])

    (found, *_) = start_gang(
        train_in_turn, list(zip(configs, map(tmp_path.joinpath, NAMES), strict=True)), world_size=world_size
    ).results()

    first, second, other = found
    assert first == second
    assert first != other


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize(
    "make",
    [adapters_in_accumulated_batches, sets_with_losses_of_their_own, reranker_of_images, reranker_with_a_new_layer],
    ids=lambda f: f.__name__,
)
def test_a_training_resumed_after_any_step_ends_with_the_weights_of_an_undisturbed_one(
    make: Callable[[Path, Path], RunConfig],
    world_size: int,
    embedding_model: Path,
    generative_model: Path,
    tmp_path: Path,
) -> None:
    model = generative_model if make in (reranker_of_images, reranker_with_a_new_layer) else embedding_model
    config = make(tmp_path / "whole", model)

    found, *_ = start_gang(
        train_and_resume_after_each_step, config, tmp_path / "whole", world_size=world_size
    ).results()

    undisturbed, *resumed = found
    assert len(resumed) + 1 == config.spec.training.max_steps
    assert resumed == [undisturbed] * len(resumed)
