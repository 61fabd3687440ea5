# ruff: noqa: ANN401 - torch and its types are imported where a test needs them
"""Prompts in what is trained on: the tokens of a batch carry those that inference puts before them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from tests.trainer.train_inputs import prepare_sets, prepare_texts, run_config, text_set
from tests.trainer.trainers import VLM_RERANKER, open_session, open_trainer

SENTENCES = ["find the answer to this question number 0", "the answer number 1 of the text", "judge the pair"]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generative")
    build_tiny_qwen3_vl_checkpoint(folder, sentences=SENTENCES)
    return folder


def shown_in_a_step(config: RunConfig, workspace: Workspace) -> tuple[Any, list[str]]:
    """Return the model, and every text that reaches its transformer in the first step, without padding."""
    from finetune_trainer.distributed.ranks import Ranks

    trainer, _ = open_trainer(open_session(config, workspace, Ranks()))
    batch = next(iter(trainer.get_train_dataloader()))
    with recorded(trainer.model) as shown:
        trainer.compute_loss(trainer.model, batch)
    return trainer.model, shown


@contextlib.contextmanager
def recorded(model: Any) -> Iterator[list[str]]:
    """Collect what the model is shown while inside."""
    shown: list[str] = []

    def record(_module: Any, inputs: tuple[Any, ...]) -> None:
        texts = model.tokenizer.batch_decode(inputs[0]["input_ids"])
        shown.extend(text.replace("<|endoftext|>", "").replace(" [PAD]", "") for text in texts)

    hook = model[0].register_forward_pre_hook(record)
    yield shown
    hook.remove()


def test_queries_and_documents_carry_their_prompts(tmp_path: Path, text_model: Path) -> None:
    prompts = {"query": "question: ", "document": "text: "}
    config = run_config(model={"source": "hf://demo/text", "prompts": prompts}, training={"maxSteps": 1}, evaluation={})
    workspace = prepare_texts(tmp_path / "run", config, model=text_model, rows=3)

    model, trained = shown_in_a_step(config, workspace)

    with recorded(model) as used:
        model.encode_query([f"question number {row}" for row in range(3)])
        model.encode_document([f"answer number {row}" for row in range(3)])
    assert "[CLS] question : question number 1 [SEP]" in used
    assert set(trained) == set(used)


def test_every_pair_of_a_reranker_carries_the_instruction(tmp_path: Path, reranker: Path) -> None:
    pairs = [("question 0", "answer 0"), ("question 1", "answer 1")]
    cells: dict[str, list[Any]] = {
        "query": [one for one, _ in pairs],
        "document": [other for _, other in pairs],
        "label": [1.0, 0.0],
    }
    config = run_config(
        model=VLM_RERANKER | {"prompts": {"query": "judge the pair"}},
        training={"loss": {"name": "BinaryCrossEntropyLoss"}, "maxSteps": 1, "perDeviceTrainBatchSize": 2},
        evaluation={},
    )
    workspace = prepare_sets(
        tmp_path / "run", config, model=reranker, sets=[text_set("pages", cells, label=Label.SCORE)]
    )

    model, trained = shown_in_a_step(config, workspace)

    with recorded(model) as used:
        model.predict(pairs)
    assert all("judge the pair" in text for text in used)
    assert sorted(trained) == sorted(used)
