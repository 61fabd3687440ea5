"""Rerankers with either head on one and two ranks: pairs, rows with negatives and lists, of texts and of images."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import CellsOfSet, draw_pages, prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, PLAIN, RERANKERS, open_session, open_trainer, train_in_turn

ROWS = 8
LIST = [[1.0, 0.0, 0.5], [0.0, 1.0]] * (ROWS // 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generative")
    build_tiny_qwen3_vl_checkpoint(folder, sentences=["is this a red page with 1 chart", "the page in question"])
    return folder


@pytest.fixture(params=RERANKERS)
def head(request: pytest.FixtureRequest) -> str:
    """What makes the score."""
    return str(request.param)


def columns_of(document: str) -> dict[str, str]:
    return {"query": "query", document: document, "label": "label"}


def pairs(documents: Sequence[str], queries: Sequence[str], **settings: Any) -> CellsOfSet:  # noqa: ANN401
    cells: dict[str, list[Any]] = {
        "query": list(queries),
        "document": list(documents),
        "label": [n % 2 for n in range(ROWS)],
    }
    return text_set("pages", cells, label=Label.SCORE, **settings)


def lists(documents: Sequence[str], queries: Sequence[str], **settings: Any) -> CellsOfSet:  # noqa: ANN401
    choices = [[documents[(row + place) % ROWS] for place in range(len(LIST[row]))] for row in range(ROWS)]
    cells: dict[str, list[Any]] = {"query": list(queries), "documents": choices, "label": LIST}
    return text_set("pages", cells, label=Label.SCORES, **settings)


def job(head: str, loss: str, document: str, *, batch_size: int) -> RunConfig:
    training = {"loss": {"name": loss}, "perDeviceTrainBatchSize": batch_size, "maxSteps": 3, "learningRate": 1e-3}
    data = {"train": [{"name": "pages", "source": "hf://demo/pages", "columns": columns_of(document)}]}
    return run_config(model=RERANKERS[head], data=data, training=training, evaluation={})


def jobs(folder: Path, model: Path, head: str, *, batch_size: int) -> list[tuple[RunConfig, Path]]:
    """Write the workspaces of pairs and lists, of texts and of images."""
    questions = [f"is this page {n}" for n in range(ROWS)]
    texts = [f"the page number {n}" for n in range(ROWS)]
    made = []
    for number, (loss, document, set_of, images) in enumerate(
        [
            ("BinaryCrossEntropyLoss", "document", pairs, []),
            ("BinaryCrossEntropyLoss", "document", pairs, ["document"]),
            ("ListNetLoss", "documents", lists, []),
            ("ListNetLoss", "documents", lists, ["documents"]),
        ]
    ):
        config, root = job(head, loss, document, batch_size=batch_size), folder / f"{number}"
        documents = draw_pages(Workspace(root), count=ROWS)[1] if images else texts
        prepare_sets(root, config, model=model, sets=[set_of(documents, questions, images=images)])
        made.append((config, root))
    return made


def test_two_ranks_train_a_reranker_as_one_process_with_the_same_global_batch(
    model: Path, head: str, tmp_path: Path
) -> None:
    together = start_gang(train_in_turn, jobs(tmp_path / "together", model, head, batch_size=2)).results()
    (alone,) = start_gang(train_in_turn, jobs(tmp_path / "alone", model, head, batch_size=4), world_size=1).results()

    for (_, losses), (_, expected) in zip(together[0], alone, strict=True):
        assert losses == pytest.approx(expected, rel=1e-4)
        assert len(set(losses.values())) == 3
    assert together[0] == together[1]


def retrieval_rows(  # noqa: PLR0913 - each is a part of its own
    root: Path,
    model: Path,
    head: str,
    *,
    loss: str = CACHED,
    batch_size: int = 4,
    texts: bool = False,
    **training: Any,  # noqa: ANN401
) -> RunConfig:
    """Write a workspace of questions, a page that answers each, and one that does not."""
    training = {"loss": {"name": loss}, "perDeviceTrainBatchSize": batch_size, "maxSteps": 1} | training
    config = run_config(model=RERANKERS[head], training=training, evaluation={})
    questions, pages = draw_pages(Workspace(root), count=8)
    documents = [f"the page number {n}" for n in range(8)] if texts else pages
    cells = {"query": questions[:4], "positive": documents[:4], "negative_0": documents[4:]}
    images = [] if texts else ["positive", "negative_0"]
    prepare_sets(root, config, model=model, sets=[text_set("pages", cells, images=images)])
    return config


def weights_after_training(jobs: Sequence[tuple[RunConfig, Path]]) -> list[tuple[str, float, float]]:
    """Train each job; return a hash of this rank's weights, how far they went, and the last loss."""
    import hashlib

    import torch

    from finetune_trainer.train.gang.ranks import join

    ranks = join(jobs[0][0])
    found = []
    for config, root in jobs:
        trainer, _ = open_trainer(open_session(config, Workspace(root), ranks))
        before = torch.cat([one.detach().flatten() for one in trainer.trained.values()])
        trainer.train()
        after = torch.cat([one.detach().flatten() for one in trainer.trained.values()])
        digest = hashlib.sha256(after.numpy().tobytes()).hexdigest()
        found.append((digest, float((after - before).norm()), float(trainer.step_loss)))
    return found


def test_two_ranks_end_with_the_same_weights_after_rows_with_negatives_of_texts_and_of_images(
    model: Path, head: str, tmp_path: Path
) -> None:
    steps = {"maxSteps": 2, "learningRate": 1e-3, "warmupRatio": 0}
    made = []
    for loss, texts in itertools.product((CACHED, PLAIN), (True, False)):
        root = tmp_path / f"{loss}-{'texts' if texts else 'images'}"
        made.append((retrieval_rows(root, model, head, loss=loss, batch_size=2, texts=texts, **steps), root))

    by_rank = start_gang(weights_after_training, made).results()

    for (first, way, loss), (second, _, other_loss) in zip(*by_rank, strict=True):
        assert first == second
        assert 0 < way < math.inf
        assert loss != other_loss, "each rank has rows of its own"


def count_prepared(config: RunConfig, root: Path, workers: int, how: str) -> tuple[int, int, list[float]]:
    """Train one step; return pairs and images that the training process preprocessed, and the weights."""
    import multiprocessing
    from unittest import mock

    import torch
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    from finetune_trainer.train.gang.ranks import join

    trainer, _ = open_trainer(open_session(config, Workspace(root), join(config)))
    multiprocessing.set_start_method("fork", force=True)  # as in the training program; the gang's is another
    trainer.args.dataloader_num_workers = workers
    num_pairs = num_images = 0
    preprocess, prepare = trainer.model.preprocess, Qwen2VLImageProcessor.__call__

    def preprocess_and_count(inputs: list[Any], **settings: Any) -> Any:  # noqa: ANN401
        nonlocal num_pairs
        num_pairs += len(inputs)
        return preprocess(inputs, **settings)

    def prepare_and_count(self: Any, images: list[Any], **settings: Any) -> Any:  # noqa: ANN401
        nonlocal num_images
        num_images += len(images)
        return prepare(self, images, **settings)

    trainer.model.preprocess = preprocess_and_count
    Qwen2VLImageProcessor.__call__ = prepare_and_count
    if how == "as the library does":
        mock.patch("finetune_trainer.recipe.batches.rows.remember").start()
    trainer.train()
    weights = torch.cat([one.detach().flatten() for one in trainer.trained.values()])
    return num_pairs, num_images, weights.tolist()


def test_an_image_is_prepared_once_a_step_however_many_pairs_it_is_in(model: Path, head: str, tmp_path: Path) -> None:
    config = retrieval_rows(tmp_path / "run", model, head)

    (plain,) = start_gang(count_prepared, config, tmp_path / "run", 0, "as the library does", world_size=1).results()
    (once,) = start_gang(count_prepared, config, tmp_path / "run", 0, "once", world_size=1).results()
    (in_workers,) = start_gang(count_prepared, config, tmp_path / "run", 1, "once", world_size=1).results()

    assert plain[:2] == (48, 48)
    assert once[:2] == (48, 8)
    assert in_workers[:2] == (48, 0)
    assert once[2] == plain[2]
    assert in_workers[2] == plain[2]


def test_what_is_saved_has_the_modules_of_its_head_and_the_models_own_processor(
    model: Path, head: str, tmp_path: Path
) -> None:
    from sentence_transformers import CrossEncoder

    config = retrieval_rows(tmp_path / "run", model, head)

    start_gang(train_in_turn, [(config, tmp_path / "run")], world_size=1).results()

    saved = CrossEncoder(str(tmp_path / "run/train/model"), device="cpu")
    modules = {"language-model-head": ["Transformer", "LogitScore"], "dense-head": ["Transformer", "Pooling", "Dense"]}
    assert [type(module).__name__ for module in saved] == modules[head]
    assert type(saved[0].processor.image_processor).__name__.startswith("Qwen2VLImageProcessor")
