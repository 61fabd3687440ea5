# ruff: noqa: ANN401 - torch's types
"""One rank reads the model's weights, and every rank has them."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from finetune_api.model import Model
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.model_folders import prepare_models
from tests.trainer.test_model_paths import ENCODERS, RERANKERS
from tests.trainer.train_inputs import run_config
from tests.trainer.trainers import open_session

ALL_WAYS = ENCODERS | {f"reranker: {name}": {"kind": "Reranker"} | fields for name, fields in RERANKERS.items()}


def fingerprint(model: Any) -> dict[str, Any]:
    """Return of each tensor, buffers that are no part of a state among them, where and what it is."""
    import torch

    from finetune_trainer.train.weights.read_once import places_in

    def of(tensor: Any) -> Any:
        numbers = tensor.detach().contiguous().view(torch.uint8) if tensor.ndim else tensor.detach()
        digest = hashlib.sha256(numbers.numpy().tobytes()).hexdigest()
        return (str(tensor.device), type(tensor).__name__, str(tensor.dtype), tensor.requires_grad, digest)

    return {place.name: of(place.tensor) for place in places_in(model)}


def on_ranks(read: Callable[[Any], Any]) -> list[Any]:
    """Return what `read` returns for each of two ranks."""
    return start_gang(_with_ranks, read).results()


def _with_ranks(read: Callable[[Any], Any]) -> Any:
    from finetune_trainer.train.gang.ranks import join

    return read(join(run_config(model={"source": "hf://demo/tiny"}, training={}, evaluation={})))


def read_all(models: dict[str, tuple[Model, Path]], ranks: Any) -> dict[str, Any]:
    """Return the devices that this rank loads each model on, and what it has then."""
    return {name: read_one(spec, root, ranks) for name, (spec, root) in models.items()}


def read_one(spec: Model, root: Path, ranks: Any) -> Any:
    from finetune_trainer.recipe.model.load import load_model
    from finetune_trainer.train.weights.read_once import read_once

    loaded_on = []

    def load(device: Any) -> Any:
        loaded_on.append(str(device))
        return load_model(spec, Workspace(root), device=device, seed=ranks.rank)

    return loaded_on, fingerprint(read_once(load, ranks))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Model, Path]]:
    roots = {name: tmp_path_factory.mktemp("model") for name in ALL_WAYS}
    return {name: (prepare_models(roots[name], **fields)[0], roots[name]) for name, fields in ALL_WAYS.items()}


def test_a_model_is_read_by_the_writer_alone_and_is_the_same_on_every_rank(
    models: dict[str, tuple[Model, Path]],
) -> None:
    from finetune_trainer.train.gang.ranks import Ranks

    alone = read_all(models, Ranks())
    writers, others = on_ranks(partial(read_all, models))

    assert {name: devices for name, (devices, _) in writers.items()} == {name: ["cpu"] for name in models}
    assert {name: devices for name, (devices, _) in others.items()} == {name: ["meta"] for name in models}
    for name, (_, tensors) in alone.items():
        assert (name, writers[name][1]) == (name, tensors)
        assert (name, others[name][1]) == (name, tensors)


def test_tied_weights_stay_tied_and_buffers_that_no_state_has_get_room() -> None:
    import torch

    from finetune_trainer.train.weights.read_once import make_room, outline

    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(2, 2, bias=False)
            self.second = torch.nn.Linear(2, 2, bias=False)
            self.second.weight = self.first.weight
            self.second.requires_grad_(requires_grad=False)
            self.register_buffer("computed", torch.ones(3, dtype=torch.float16), persistent=False)

    with torch.device("meta"):
        model: Any = Odd()
    before = outline(model)
    make_room(model, torch.device("cpu"))

    assert (
        outline(model)
        == before
        == [
            (".computed", 0, torch.Size([3]), torch.float16, ""),
            ("first.weight", 1, torch.Size([2, 2]), torch.float32, ""),
            ("second.weight", 1, torch.Size([2, 2]), torch.float32, ""),
        ]
    )
    kept = (model.computed, model.first.weight, model.second.weight)
    assert [(str(one.device), one.requires_grad) for one in kept] == [("cpu", False)] * 3
    assert isinstance(model.first.weight, torch.nn.Parameter)


def read_dense(sizes_differ: bool, ranks: Any) -> Any:
    """Read a model that has another layer without weights than with them, or a plain tensor."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    from finetune_trainer.train.weights.read_once import read_once

    loaded_on = []

    def load(device: Any) -> Any:
        loaded_on.append(str(device))
        torch.manual_seed(ranks.rank)
        with device:
            layer = Dense(4, 3 if sizes_differ and device.type == "meta" else 2)
            if not sizes_differ:
                layer.plain = torch.rand(3)
        return SentenceTransformer(modules=[layer], device=str(device))

    return loaded_on, fingerprint(read_once(load, ranks))


@pytest.mark.parametrize("sizes_differ", [True, False], ids=["another layer", "a plain tensor"])
def test_a_model_that_is_another_one_without_weights_is_read_by_every_rank(*, sizes_differ: bool) -> None:
    writers, others = on_ranks(partial(read_dense, sizes_differ))

    assert (writers[0], others[0]) == (["cpu"], ["meta", "cpu"])
    assert others[1] == writers[1]


def test_a_model_whose_weights_come_later_is_made_for_the_rank_s_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from finetune_trainer.train import train
    from finetune_trainer.train.gang.ranks import Ranks

    made: list[dict[str, Any]] = []
    monkeypatch.setattr(train, "load_model", lambda *_, **settings: made.append(settings))
    monkeypatch.setattr(train, "read_once", lambda load, _: load(torch.device("meta")))
    config = run_config(model={"source": "hf://demo/tiny"}, training={"seed": 7}, evaluation={})
    ranks = Ranks(rank=1, world_size=2, device=torch.device("cuda", 1))
    train.load_once(open_session(config, Workspace(Path("unread")), ranks))

    assert made == [{"device": torch.device("meta"), "seed": 7, "computes_on": torch.device("cuda", 1)}]
