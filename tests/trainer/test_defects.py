# ruff: noqa: ANN401 - torch's and the library's types are imported where a test needs them
"""What the libraries do wrong as they are: the reasons for most of what our trainer replaces.

The tests named `the_plain_library_...` show that a defect is there; if one fails after an upgrade, something of ours
may no longer be needed. That ours does it right is shown beside it or in the file that is named:

| the plain library ...                             | ours                                                            |
|---------------------------------------------------|-----------------------------------------------------------------|
| writes each checkpoint from every rank            | test_train_resume: only rank 0 writes                           |
| fails on a checkpoint that is not whole           | test_train_resume: two ranks resume past a damaged one          |
| cannot train a reranker on two ranks              | test_train_rerankers: as one process with the same global batch |
| fails with images before texts; wrong gradient    | here: whatever the loss and the order of texts and images       |
| hangs when it gathers embeddings of several sets  | here: as one process does                                       |
| evaluates everything on every rank                | test_evaluation: two ranks open each page once                  |
| sends decoded images from rank to rank            | test_defects_images: embeddings alone                           |
| evaluates again for every dimension               | test_evaluation: one pass equals the library's passes           |
| logs a loss that is no number as 0                | test_train_resume: stops every rank and leaves no model         |
| takes a list of two for a pair, images also       | test_prepare_layouts: a list of exactly two, texts and images   |
| writes rows of data into the model folder         | test_train_resume: no row of data gets into any file            |
| writes the Hub's token into checkpoints           | test_train_weights: no arguments; test_supervisor: no token     |
| opens a text that looks like a path of an image   | test_model_texts                                                |
| saves on SIGTERM without the other ranks          | test_supervisor: one of two nodes ends both as preempted        |
| leaves most weights of a bfloat16 checkpoint alone| here: ours moves them                                           |
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.plain_library import (
    SECRET,
    evaluate_every_dimension,
    train_and_resume,
    train_embedding,
    train_gathering,
    train_in_small_steps,
    train_reranker,
    train_with_a_signal_to_one_rank,
    weights_of_layers,
)
from tests.trainer.train_inputs import as_files, prepare_pages, prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, PLAIN, VLM_RERANKER, open_session, open_trainer

TEXT_FIRST, IMAGE_FIRST, TEXTS = ("query", "positive"), ("positive", "query"), ("query", "other")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare_pages(tmp_path_factory.mktemp("defects"), run_config(), rows=16)


def plain(workspace: Workspace, folder: Path, columns: tuple[str, ...], loss: str, **settings: Any) -> list[Any]:
    """Train with the library on two ranks."""
    return start_gang(call, train_embedding, (workspace.root, folder, columns, loss), settings).results()


def call(function: Any, arguments: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    return function(*arguments, **settings)


def test_the_plain_library_writes_each_checkpoint_from_every_rank_with_the_hub_token_in_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    settings = {"save_strategy": "steps", "save_steps": 2, "hub_token": SECRET}

    written = plain(workspace, tmp_path, TEXT_FIRST, PLAIN, **settings, ddp_find_unused_parameters=False)

    for rank, ended in enumerate(written):
        assert ended["error"] is None
        assert {"checkpoint-2/modules.json", "checkpoint-2/training_args.bin"} <= set(ended["files"])
        assert SECRET.encode() in (tmp_path / f"{rank}/checkpoint-2/training_args.bin").read_bytes()


def test_the_plain_library_writes_rows_of_data_into_the_model_folder(workspace: Workspace, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    settings = {"save_strategy": "steps", "save_steps": 2, "ddp_find_unused_parameters": False}
    query = pq.read_table(workspace.train_table("pages"))["query"][0].as_py()

    plain(workspace, tmp_path, TEXT_FIRST, PLAIN, **settings)

    assert query in (tmp_path / "0/checkpoint-2/README.md").read_text()
    assert list((tmp_path / "0/checkpoint-2/assets").iterdir())


def test_the_plain_library_fails_on_a_newest_checkpoint_that_is_not_whole(text_model: Path, tmp_path: Path) -> None:
    cells = {kind: [f"{kind} number {number}" for number in range(12)] for kind in ("query", "positive")}

    (error,) = start_gang(train_and_resume, text_model, tmp_path, cells, world_size=1).results()

    assert "deserializ" in error


def test_the_plain_library_cannot_train_a_reranker_on_two_ranks(tmp_path: Path) -> None:
    config = run_config(model=VLM_RERANKER)
    build_tiny_qwen3_vl_checkpoint(tmp_path / "model", sentences=["q and d 1"])
    prepare_sets(tmp_path / "run", config, model=tmp_path / "model", sets=[text_set("pages", {"query": ["q"]})])

    errors = start_gang(train_reranker, tmp_path / "run", tmp_path / "out").results()

    assert all("Expected to mark a variable ready only once" in error for error in errors)


def test_the_plain_library_fails_with_images_before_texts(workspace: Workspace, tmp_path: Path) -> None:
    ended = plain(workspace, tmp_path, IMAGE_FIRST, PLAIN)

    assert all("Expected to mark a variable ready only once" in rank["error"] for rank in ended)


def test_the_plain_library_with_the_setting_that_mends_this_trains_a_cached_loss_on_a_wrong_gradient(
    workspace: Workspace, tmp_path: Path
) -> None:
    ended = plain(workspace, tmp_path, IMAGE_FIRST, CACHED, ddp_find_unused_parameters=False, max_grad_norm=0)

    (first, *_), (second, *_) = (rank["norms"] for rank in ended)
    assert abs(first - second) > 0.1 * first, "each rank steps by a gradient of its own"
    assert all("Expected to have finished reduction in the prior iteration" in rank["error"] for rank in ended)


CASES = [
    (CACHED, TEXT_FIRST),
    (CACHED, IMAGE_FIRST),
    (PLAIN, TEXT_FIRST),
    (PLAIN, IMAGE_FIRST),
    (PLAIN, TEXTS),
]


def jobs(workspace: Workspace, folder: Path, *, batch_size: int) -> list[tuple[RunConfig, Path]]:
    """Write a workspace per case, of the prepared rows in the order of its columns."""
    import pyarrow.parquet as pq

    table = pq.read_table(workspace.train_table("pages")).to_pydict()
    table["other"] = [f"other {query}" for query in table["query"]]
    made = []
    for number, (loss, columns) in enumerate(CASES):
        training = {
            "loss": {"name": loss, "matryoshkaDimensions": [64, 16]},
            "perDeviceTrainBatchSize": batch_size,
            "maxSteps": 2,
            "learningRate": 1e-6,
            "arguments": {"max_grad_norm": 1e9},
        }
        config, root = run_config(training=training), folder / f"{batch_size}-{number}"
        cells = text_set("pages", {name: table[name] for name in columns}, images=["positive"])
        made.append((config, prepare_sets(root, config, model=workspace.base_model, sets=[cells]).root))
        shutil.copytree(workspace.images, Workspace(root).images)
    return made


def gradients_of(jobs: list[tuple[RunConfig, Path]]) -> list[list[Any]]:
    """Return the whole gradient of each step of each job."""
    import torch
    from transformers import TrainerCallback

    from finetune_trainer.train.gang.ranks import join

    ranks = join(jobs[0][0])
    found: list[list[Any]] = []

    class Keep(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in trainer.trained.values()]
            found[-1].append(torch.cat([part.flatten() for part in parts]).numpy().copy())

    for config, root in jobs:
        trainer, _ = open_trainer(open_session(config, Workspace(root), ranks))
        trainer.add_callback(Keep())
        found.append([])
        trainer.train()
    return found


def test_two_ranks_step_as_one_process_does_whatever_the_loss_and_the_order_of_texts_and_images(
    workspace: Workspace, tmp_path: Path
) -> None:
    from numpy.linalg import norm

    together = start_gang(gradients_of, jobs(workspace, tmp_path, batch_size=2)).results()
    (alone,) = start_gang(gradients_of, jobs(workspace, tmp_path, batch_size=4), world_size=1).results()

    for rank in together:
        for case, steps, expected in zip(CASES, rank, alone, strict=True):
            errors = [norm(one - other) / norm(other) for one, other in zip(steps, expected, strict=True)]
            assert max(errors) < 1e-4, case
            assert len(errors) == 2


def train_ours_in_small_steps(root: Path, config: RunConfig) -> float:
    """Train; return the share of the layers' weights that are as they were."""
    from finetune_trainer.train.gang.ranks import join

    trainer, _ = open_trainer(open_session(config, Workspace(root), join(config)))
    before = weights_of_layers(trainer.model)
    trainer.train()
    return float((weights_of_layers(trainer.model) == before).float().mean())


def test_the_plain_library_leaves_most_weights_of_a_bfloat16_checkpoint_alone_and_ours_moves_them(
    text_model: Path, tmp_path: Path
) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(text_model), device="cpu").to(torch.bfloat16).save_pretrained(str(tmp_path / "bf16"))
    cells = {kind: [f"{kind} number {number}" for number in range(12)] for kind in ("query", "positive")}
    training = {"loss": {"name": PLAIN}, "perDeviceTrainBatchSize": 4, "maxSteps": 20, "learningRate": 5e-6}
    config = run_config(model={"source": "hf://demo/bf16", "dtype": "float32"}, training=training, evaluation={})
    root = prepare_sets(tmp_path / "ours", config, model=tmp_path / "bf16", sets=[text_set("pages", cells)]).root

    (plain,) = start_gang(train_in_small_steps, tmp_path / "bf16", tmp_path / "plain", cells, world_size=1).results()
    (ours,) = start_gang(train_ours_in_small_steps, root, config, world_size=1).results()

    assert plain > 0.5
    assert ours < 0.01


SETS = {
    "pairs": {"query": [f"q {n}" for n in range(12)], "positive": [f"a {n}" for n in range(12)]},
    "triples": {
        "query": [f"which one is {n}" for n in range(12)],
        "positive": [f"this one is {n}" for n in range(12)],
        "negative_0": [f"that one is not {n}" for n in range(12)],
    },
}


def test_the_plain_library_hangs_when_it_gathers_embeddings_of_sets_with_different_columns(
    loss_models: Workspace, tmp_path: Path
) -> None:
    one_set = {"pairs": SETS["pairs"]}

    errors = start_gang(train_gathering, loss_models.base_model, tmp_path, [one_set, SETS]).results()

    assert [of_one_set for of_one_set, _ in errors] == [None, None]
    assert all(of_two_sets for _, of_two_sets in errors)
    assert any("Timed out waiting" in of_two_sets for _, of_two_sets in errors)


def test_two_ranks_gather_embeddings_of_sets_with_different_columns_as_one_process_does(
    loss_models: Workspace, tmp_path: Path
) -> None:
    from numpy.linalg import norm

    data = {"train": [{"name": name, "source": f"hf://demo/{name}"} for name in SETS]}
    made = []
    for batch_size in (2, 4):
        training = {
            "loss": {"name": CACHED},
            "perDeviceTrainBatchSize": batch_size,
            "maxSteps": 6,
            "learningRate": 1e-6,
            "arguments": {"max_grad_norm": 1e9},
        }
        config, root = run_config(data=data, training=training, evaluation={}), tmp_path / f"{batch_size}"
        sets = [text_set(name, dict(cells)) for name, cells in SETS.items()]
        made.append([(config, prepare_sets(root, config, model=loss_models.base_model, sets=sets).root)])

    together = start_gang(gradients_of, made[0]).results()
    ((alone,),) = start_gang(gradients_of, made[1], world_size=1).results()

    for (steps,) in together:
        assert [norm(one - other) / norm(other) < 1e-4 for one, other in zip(steps, alone, strict=True)] == [True] * 6


def test_the_plain_library_evaluates_everything_on_every_rank_and_again_for_every_dimension(
    workspace: Workspace,
) -> None:
    encoded = start_gang(evaluate_every_dimension, workspace.root, [64, 32, 16]).results()

    queries_and_documents = 4 + 4
    assert encoded == [queries_and_documents * 3] * 2


def test_the_plain_library_logs_a_loss_that_is_no_number_as_0(workspace: Workspace, tmp_path: Path) -> None:
    (logged,) = start_gang(train_without_numbers, workspace.root, tmp_path, world_size=1).results()

    assert logged == [0.0, 0.0]


def train_without_numbers(root: Path, folder: Path) -> list[float]:
    """Train on a loss that is never a number; return what is logged."""
    import torch
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments

    from tests.trainer.plain_library import arguments_of, pages_of

    class NoNumber(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Any, _: Any) -> Any:
            return self.model(features[0])["sentence_embedding"].sum() * float("nan")

    model = SentenceTransformer(str(Workspace(root).base_model), device="cpu")
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments_of(Arguments, folder, logging_steps=1),
        train_dataset=pages_of(root, TEXT_FIRST),
        loss=NoNumber(model),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_the_plain_library_takes_a_list_of_two_for_a_pair(text_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(text_model), device="cpu")

    pair = model.preprocess([["one answer", "another answer"]])

    assert pair["input_ids"].shape[0] == 1
    assert set(pair["token_type_ids"].flatten().tolist()) == {0, 1}


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision:DeprecationWarning")
def test_the_plain_library_opens_a_text_that_looks_like_the_path_of_an_image(workspace: Workspace) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    text = str(next(iter(as_files(workspace).values())))

    assert "pixel_values" in model.preprocess([text])


def test_the_plain_library_saves_on_sigterm_without_the_other_ranks_and_all_wait_in_vain(
    loss_models: Workspace, tmp_path: Path
) -> None:
    ended = start_gang(train_with_a_signal_to_one_rank, loss_models.base_model, tmp_path, SETS["pairs"]).results()

    assert [rank["step"] for rank in ended] == [2, 1]
    assert [rank["files"] for rank in ended] == [[], ["checkpoint-1/checkpoint-is-incomplete.txt"]]
    assert all(rank["error"] for rank in ended)
    assert any("Timed out waiting" in rank["error"] for rank in ended)
