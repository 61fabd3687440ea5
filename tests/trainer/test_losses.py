# ruff: noqa: ANN401 - torch's types are imported where a test needs them
from typing import Any

import pytest

from finetune_api.reasons import Reason
from finetune_api.types import Loss
from finetune_api.workspace import Workspace
from finetune_trainer.failures import RunFailure
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_pages, run_config

CACHED = "CachedMultipleNegativesRankingLoss"
PLAIN = "MultipleNegativesRankingLoss"


def arguments_of(loss: Loss, *, device: str = "cpu", world_size: int = 1) -> dict[str, Any]:
    import torch

    from finetune_trainer.losses.build import loss_arguments

    return loss_arguments(loss, device=torch.device(device), world_size=world_size)


def test_negatives_are_gathered_from_all_ranks_unless_the_spec_says_otherwise() -> None:
    assert arguments_of(Loss(name=PLAIN), world_size=2) == {"gather_across_devices": True}
    assert arguments_of(Loss(name=PLAIN), world_size=1) == {"gather_across_devices": False}
    assert arguments_of(Loss(name=PLAIN, arguments={"gather_across_devices": False}), world_size=2) == {
        "gather_across_devices": False
    }


@pytest.mark.parametrize("arguments", [{}, {"mini_batch_size": "auto"}], ids=["unstated", "auto"])
def test_an_automatic_mini_batch_is_bounded_by_rows_on_cpu_and_by_tokens_on_an_accelerator(
    arguments: dict[str, Any],
) -> None:
    loss = Loss(name=CACHED, arguments=arguments)

    assert arguments_of(loss) == {"mini_batch_size": 8, "gather_across_devices": False}
    assert arguments_of(loss, device="cuda") == {
        "mini_batch_size": 64,
        "mini_batch_num_tokens": 8192,
        "gather_across_devices": False,
    }


def test_stated_arguments_reach_the_loss_as_they_are() -> None:
    stated = {"mini_batch_size": 3, "scale": 5.0, "directions": ["query_to_doc", "doc_to_query"]}

    assert arguments_of(Loss(name=CACHED, arguments=stated)) == {
        "mini_batch_size": 3,
        "scale": 5.0,
        "directions": ("query_to_doc", "doc_to_query"),
        "gather_across_devices": False,
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare_pages(tmp_path_factory.mktemp("losses"), run_config(), rows=16)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Loss(arguments={"temperature": 0.05}), "unexpected keyword argument 'temperature'"),
        (Loss(matryoshka_dimensions=[128]), "Dimensions in matryoshka_dims"),
    ],
    ids=["unknown argument", "dimension too large"],
)
def test_what_the_library_refuses_is_the_users_to_correct(workspace: Workspace, loss: Loss, expected: str) -> None:
    from sentence_transformers import SentenceTransformer

    from finetune_trainer.losses.build import build_loss

    model = SentenceTransformer(str(workspace.base_model), device="cpu")

    with pytest.raises(RunFailure, match=expected) as caught:
        build_loss(loss, model, world_size=1)

    assert caught.value.reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (CACHED, ["text", "image"]),
        (CACHED, ["image", "text"]),
        (PLAIN, ["text", "image"]),
        (PLAIN, ["image", "text"]),
        (PLAIN, ["text", "text"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_two_ranks_move_the_weights_as_one_process_with_the_same_global_batch(
    workspace: Workspace, name: str, columns: list[str]
) -> None:
    from numpy.linalg import norm

    loss = Loss(name=name, matryoshka_dimensions=[64, 16])

    together = start_gang(gradients_after, workspace, loss, columns, 4).results()
    (alone,) = start_gang(gradients_after, workspace, loss, columns, 8, world_size=1).results()

    for gradients in together:
        for step, (one, other) in enumerate(zip(gradients, alone, strict=True)):
            assert norm(one - other) / norm(other) < 1e-4, f"step {step + 1}"


def gradients_after(workspace: Workspace, loss: Loss, modalities: list[str], batch_size: int) -> Any:
    """Return the whole gradient of each of two steps; the second one is where DDP notices a wrong setting."""
    import torch
    from transformers import TrainerCallback

    from finetune_trainer.data.manifest import Column, InputsManifest
    from finetune_trainer.distributed.ranks import join
    from finetune_trainer.distributed.stop import StopRequest
    from finetune_trainer.model.inputs import InputReader
    from finetune_trainer.model.load import load_model
    from finetune_trainer.report.tracker import Tracker
    from finetune_trainer.training.fit import build_trainer
    from finetune_trainer.training.schedule import plan
    from finetune_trainer.training.session import Session

    training = {"loss": loss.model_dump(by_alias=True), "perDeviceTrainBatchSize": batch_size, "maxSteps": 2}
    config = run_config(training=training | {"learningRate": 1e-6})
    session = Session(config, workspace, 1, join(config), Tracker(attempt=1), StopRequest())
    model = load_model(config.spec.model, workspace, device=torch.device("cpu"))
    prepared = InputsManifest.read(workspace.manifest)
    names = {"text": "query", "image": "positive"}
    columns = [Column(name=name, modality=modality) for name, modality in zip("ab", modalities, strict=True)]
    write_columns(workspace, {column.name: names[column.modality] for column in columns})
    inputs = prepared.model_copy(update={"train": prepared.train.model_copy(update={"columns": columns})})
    schedule = plan(config.spec, rows=prepared.train.rows, world_size=session.ranks.world_size)
    reader = InputReader(workspace.images, model.modalities)
    trainer = build_trainer(session, inputs, model, reader, schedule=schedule)
    gradients: list[Any] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            parts = [
                one.grad.flatten() if one.grad is not None else torch.zeros(one.numel()) for one in model.parameters()
            ]
            gradients.append(torch.cat(parts).numpy().copy())

    trainer.add_callback(Keep())
    trainer.args.max_grad_norm = 1e9
    trainer.train()
    return gradients


def write_columns(workspace: Workspace, sources: dict[str, str]) -> None:
    """Make a table of the prepared one's columns in another order; every rank writes the same bytes."""
    import os

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(workspace.train_table, columns=["query", "positive"])
    cells = {name: table[source].to_pylist() for name, source in sources.items()}
    if len(set(sources.values())) == 1:  # a document of its own for each query
        cells = {name: [f"{name} {cell}" for cell in column] for name, column in cells.items()}
    own = workspace.train_table.with_suffix(f".{os.getpid()}")
    pq.write_table(pa.table({**table.to_pydict(), **cells}), own)
    own.rename(workspace.train_table)
