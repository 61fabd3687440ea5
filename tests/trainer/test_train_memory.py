# ruff: noqa: ANN401 - torch's and the library's types are imported where a test needs them
"""Memory that runs out: mini-batches are halved on all ranks together, and the step is made again."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl
from finetune_api.contract import RunConfig
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.failures import RunFailure
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, open_session, open_trainer

TWO_BATCHES = {"perDeviceTrainBatchSize": 4, "arguments": {"gradient_accumulation_steps": 2}, "maxSteps": 2}


def config_of(arguments: dict[str, Any]) -> RunConfig:
    loss = {"name": CACHED, "arguments": arguments, "matryoshkaDimensions": [64, 16]}
    return run_config(training=TWO_BATCHES | {"loss": loss, "learningRate": 1e-3}, evaluation={})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("memory")
    build_tiny_qwen3_vl(folder / "model", sentences=["question number 1", "answer number 2"])
    cells = {
        "query": [f"q {n}" for n in range(32)],
        "positive": [f"answer number {n} " * (n % 5 + 1) for n in range(32)],
    }
    return prepare_sets(folder / "workspace", config_of({}), model=folder / "model", sets=[text_set("pages", cells)])


@dataclass(frozen=True)
class Tight:
    """Where forward passes of too many rows fail: in later mini-batches, when something has been made already."""

    fits: int
    """Rows."""
    with_grad: bool = False
    """Whether memory runs out in the passes with gradients, or in those before."""
    spared: int = 0
    """Batches until then."""


ROOM = Tight(fits=4)


def train_in_turn(root: Path, cases: list[tuple[RunConfig, Tight]]) -> list[Any]:
    """Train once per case from the same start; the last rank has little memory."""
    from finetune_trainer.train.gang.ranks import join

    ranks = join(cases[0][0])
    return [train_in_little_memory(open_session(config, Workspace(root), ranks), tight) for config, tight in cases]


def train_in_little_memory(session: Any, tight: Tight) -> tuple[str, int, list[str]] | tuple[Reason, str]:
    """Train; return weights, mini-batch size and warnings, or how it failed."""
    import torch

    from finetune_trainer.train.loop.mini_batches import cached_loss

    trainer, _ = open_trainer(session)
    loss: Any = cached_loss(trainer.loss)
    embed = loss.embed_minibatch
    is_tight = session.ranks.rank == session.ranks.world_size - 1
    columns_seen = 0

    def embed_if_it_fits(**call: Any) -> Any:
        nonlocal columns_seen
        columns_seen += not call["with_grad"] and call["begin"] == 0
        fails = is_tight and columns_seen > 2 * tight.spared and loss.mini_batch_size > tight.fits
        if fails and call["begin"] > 0 and call["with_grad"] == tight.with_grad:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return embed(**call)

    loss.embed_minibatch = embed_if_it_fits
    try:
        trainer.train()
    except RunFailure as failure:
        return failure.reason, failure.message
    weights = torch.cat([one.detach().flatten() for one in trainer.trained.values()])
    return hashlib.sha256(weights.numpy().tobytes()).hexdigest(), loss.mini_batch_size, session.tracker.history.warnings


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_step_that_did_not_fit_is_made_again_in_smaller_mini_batches(workspace: Workspace, world_size: int) -> None:
    small, large = config_of({"mini_batch_size": 1}), config_of({"mini_batch_size": 2})
    tight = [Tight(1, with_grad, spared) for with_grad in (False, True) for spared in (0, 1)]
    cases = [(small, ROOM), *((large, one) for one in tight)]

    by_rank = start_gang(train_in_turn, workspace.root, cases, world_size=world_size).results()

    for expected, *halved in by_rank:
        weights, _, warnings = expected
        assert warnings == []
        assert (
            halved
            == [(weights, 1, ["memory ran out; mini_batch_size 1 fits: put it into training.loss.arguments"])] * 4
        )


def test_a_token_budget_is_halved_with_the_rows_and_goes_when_one_row_is_left(workspace: Workspace) -> None:
    config = config_of({"mini_batch_size": 4, "mini_batch_num_tokens": 60})

    (told,) = start_gang(
        train_in_turn, workspace.root, [(config, Tight(2)), (config, Tight(1))], world_size=1
    ).results()

    (_, two, warnings_of_two), (_, one, warnings_of_one) = told
    assert (two, one) == (2, 1)
    assert warnings_of_two == [
        "memory ran out; mini_batch_size 2 with mini_batch_num_tokens 30 fits: put it into training.loss.arguments"
    ]
    assert warnings_of_one == ["memory ran out; mini_batch_size 1 fits: put it into training.loss.arguments"]


def write_and_load(root: Path, config: RunConfig) -> tuple[int, int | None]:
    """Run out of memory, write a checkpoint, load it into a new trainer; return what that one embeds at once."""
    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.mini_batches import cached_loss
    from finetune_trainer.train.loop.saver import Saver

    session = open_session(config, Workspace(root), join(config))
    trainer, _ = open_trainer(session)
    for one in trainer._mini_batches.values():
        one.take_on({"mini_batch_size": 2, "mini_batch_num_tokens": 30})
    trainer.create_optimizer_and_scheduler(2)
    saver = Saver(session, trainer, session.checkpoints, in_background=True)
    with session.fence.held(), saver:
        saver.save(1)
    resumed, _ = open_trainer(session)
    resumed._load_from_checkpoint(str(session.workspace.checkpoints / "step-000001"))
    loss: Any = cached_loss(resumed.loss)
    return loss.mini_batch_size, loss.mini_batch_num_tokens


def test_a_resumed_training_embeds_as_much_at_once_as_the_one_before_came_to(workspace: Workspace) -> None:
    config = config_of({"mini_batch_size": 4, "mini_batch_num_tokens": 60})

    (sizes,) = start_gang(write_and_load, workspace.root, config, world_size=1).results()

    assert sizes == (2, 30)


def test_one_row_that_does_not_fit_ends_every_rank(workspace: Workspace) -> None:
    case = (config_of({"mini_batch_size": 2}), Tight(0, with_grad=True))

    ended = start_gang(train_in_turn, workspace.root, [case]).results()

    message = (
        "memory ran out with one row at a time; lower the image size, model.maxSeqLength or perDeviceTrainBatchSize, "
        "train with model.lora, or ask for more memory"
    )
    assert ended == [[(Reason.OUT_OF_MEMORY, message)]] * 2


def test_the_plain_library_ends_at_the_first_batch_that_does_not_fit(workspace: Workspace) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=4)
    embed = loss.embed_minibatch

    def embed_if_it_fits(**call: Any) -> Any:
        if loss.mini_batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return embed(**call)

    loss.embed_minibatch = embed_if_it_fits

    with pytest.raises(torch.OutOfMemoryError):
        loss([model.preprocess(["q 1", "q 2"]), model.preprocess(["a 1", "a 2"])], None)
