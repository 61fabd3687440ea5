# ruff: noqa: ANN401 - torch's types
"""What one number of ranks has written, sharded or not, any other reads: weights, and what the optimizer remembers."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetune_api.workspace import Workspace
from finetune_trainer.workspace.fence import Fence, Owner
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import run_config

OWNER = Owner(run="abc", namespace="search", name="pages", uid="uid", attempt=1)


def parameters_of(ranks: Any, *, sharded: bool, fill: float | None = None) -> dict[str, Any]:
    """Return two weights of a model, the first of which no number of ranks divides, and one of a loss."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    wholes = {"a": torch.arange(35.0).reshape(7, 5), "b.c": torch.arange(8.0), "loss.0.scale": torch.ones(3)}
    if fill is not None:
        wholes = {name: torch.full_like(one, fill) for name, one in wholes.items()}
    if sharded:
        mesh = init_device_mesh("cpu", (ranks.world_size,))
        wholes |= {name: distribute_tensor(wholes[name], mesh, [Shard(0)]) for name in ("a", "b.c")}
    return {name: torch.nn.Parameter(one) for name, one in wholes.items()}


def optimizer_of(parameters: dict[str, Any], *, learning_rate: float) -> Any:
    """Return an optimizer of two groups; the second weight is trained by a smaller step."""
    import torch

    first = [parameters["a"], parameters["loss.0.scale"]]
    groups: list[dict[str, Any]] = [{"params": first}, {"params": [parameters["b.c"]], "lr": learning_rate / 2}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def make_steps(parameters: dict[str, Any], optimizer: Any, number: int) -> None:
    """Make steps whose gradient is the weight itself; one weight never gets any."""
    for _ in range(number):
        for name in ("a", "loss.0.scale"):
            parameters[name].grad = parameters[name].detach().clone()
        optimizer.step()


def whole(parameters: dict[str, Any]) -> dict[str, list[float]]:
    """Return the numbers of each weight, whoever has them."""
    return {
        name: getattr(one.detach(), "full_tensor", one.detach)().flatten().tolist() for name, one in parameters.items()
    }


def write(root: Path, sharded: bool) -> dict[str, list[float]]:
    """Make two steps, save, and make two more; return the weights after these."""
    import torch

    from finetune_trainer.train.checkpoints.parts import own_part
    from finetune_trainer.train.checkpoints.store import CheckpointStore
    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.saver import Saver
    from finetune_trainer.train.loop.state import named_weights, remembered
    from finetune_trainer.train.report.tracker import Tracker

    ranks = join(run_config())
    parameters = parameters_of(ranks, sharded=sharded)
    optimizer = optimizer_of(parameters, learning_rate=0.01)
    make_steps(parameters, optimizer, 2)
    tensors, rest = remembered(optimizer, parameters)
    content = io.BytesIO()
    torch.save(rest, content)
    part = own_part(named_weights(parameters) | tensors, rank=ranks.rank, world_size=ranks.world_size)
    trainer: Any = SimpleNamespace(part=lambda: part, files=lambda: {"rest": content.getvalue()})
    fence = Fence(Workspace(root), OWNER)
    store = CheckpointStore(root / "checkpoints", fence=fence, keep=2, run="abc", world_size=ranks.world_size)
    session: Any = SimpleNamespace(tracker=Tracker(attempt=1), ranks=ranks)
    with Saver(session, trainer, store, in_background=True) as saver:
        saver.save(2)
        make_steps(parameters, optimizer, 2)
    return whole(parameters)


def read(root: Path, sharded: bool) -> dict[str, list[float]]:
    """Go on from the checkpoint with two steps; return the weights."""
    import torch

    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.loop.state import named_weights, read_weights, remember

    ranks, folder = join(run_config()), root / "checkpoints" / "step-000002"
    parameters = parameters_of(ranks, sharded=sharded, fill=-1.0)
    optimizer = optimizer_of(parameters, learning_rate=1.0)
    read_weights(named_weights(parameters), folder, group=ranks.control)
    rest = torch.load(folder / "rest", weights_only=True)
    remember(optimizer, parameters, folder, rest=rest, group=ranks.control)
    make_steps(parameters, optimizer, 2)
    return whole(parameters)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((2, True), (4, True)),
        ((4, True), (2, True)),
        ((2, True), (1, False)),
        ((1, False), (2, True)),
        ((2, False), (3, True)),
    ],
)
def test_training_goes_on_with_any_number_of_ranks_and_shards_as_if_nothing_had_been(
    tmp_path: Path, before: tuple[int, bool], after: tuple[int, bool]
) -> None:
    with Fence(Workspace(tmp_path), OWNER).held():
        expected = start_gang(write, tmp_path, before[1], world_size=before[0]).results()[0]

    found = start_gang(read, tmp_path, after[1], world_size=after[0]).results()

    assert found == [expected] * after[0]
    assert expected["b.c"] == [float(number) for number in range(8)]
