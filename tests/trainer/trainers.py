"""What tests of training run inside a rank: the real story of `finetune_trainer.train.train`, once or several times."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune_api.contract import RunConfig, RunResult, run_id
from finetune_api.workspace import Workspace

#: Settings of a job that saves every step and measures nothing.
SAVE_EACH_STEP: dict[str, Any] = {"checkpoint": {"everySteps": 1, "keep": 100}, "evaluation": {}}
PLAIN = "MultipleNegativesRankingLoss"
CACHED = "CachedMultipleNegativesRankingLoss"
VLM_RERANKER: dict[str, Any] = {
    "kind": "Reranker",
    "source": "hf://demo/tiny",
    "modules": [
        {"type": "Transformer", "arguments": {"transformer_task": "any-to-any"}},
        {"type": "LogitScore", "arguments": {"true_token": "1", "false_token": "0"}},
    ],
}
DENSE_RERANKER: dict[str, Any] = VLM_RERANKER | {
    "modules": [
        {"type": "Transformer", "arguments": {"transformer_task": "feature-extraction"}},
        {"type": "Pooling", "arguments": {"pooling_mode": "lasttoken"}},
        {
            "type": "Dense",
            "arguments": {"out_features": 1, "activation_function": "Identity", "module_output_name": "scores"},
        },
    ],
}
#: By what makes the score: the language model's own head, or a new layer on the last token.
RERANKERS = {"language-model-head": VLM_RERANKER, "dense-head": DENSE_RERANKER}


def open_session(config: RunConfig, workspace: Workspace, ranks: Any, *, attempt: int = 1) -> Any:  # noqa: ANN401
    """Return the session of this rank."""
    from finetune_trainer.train.gang.stop import StopRequest
    from finetune_trainer.train.report.tracker import Tracker
    from finetune_trainer.train.session import Session

    run = run_id(config.spec_hash, {})
    return Session(config, workspace, attempt, ranks, Tracker(attempt=attempt), StopRequest(), run)


def open_trainer(session: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return trainer and schedule, as `fit` puts them together."""
    from finetune_trainer.recipe.batches.sets import read_sets
    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.loop.build import build_trainer
    from finetune_trainer.train.train import load_once
    from finetune_trainer.workspace.manifest import InputsManifest

    spec, workspace, ranks = session.spec, session.workspace, session.ranks
    model = load_once(session)
    sets = read_sets(spec, InputsManifest.read(workspace.manifest).train, workspace, world_size=ranks.world_size)
    reader = InputReader.of(model, images=workspace.images)
    return build_trainer(session, sets, model, reader, began_with=ranks.world_size)


def read_checkpoint(folder: Path) -> dict[str, bytes]:
    """Return the tensors of a checkpoint by name, whichever rank wrote them."""
    import torch

    from finetune_trainer.train.checkpoints.parts import read_parts, stored_tensors

    tensors = {name: torch.zeros(one.size, dtype=one.properties.dtype) for name, one in stored_tensors(folder).items()}
    read_parts(tensors, folder, group=None)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def weights_of(checkpoint: Path) -> dict[str, bytes]:
    """Return the weights in a checkpoint by name."""
    found = read_checkpoint(checkpoint)
    return {name.removeprefix("weights."): one for name, one in found.items() if name.startswith("weights.")}


def digest(checkpoint: Path) -> str:
    """Return a hash of the weights in a checkpoint."""
    return hashlib.sha256(repr(sorted(weights_of(checkpoint).items())).encode()).hexdigest()


def train_and_resume_after_each_step(config: RunConfig, root: Path) -> list[tuple[str, dict[int, float | None]]]:
    """Train to the end, then again from each checkpoint on; return the last weights and all losses of each training.

    The config saves after every step.
    """
    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.train import train

    ranks, workspace = join(config), Workspace(root)
    train(open_session(config, workspace, ranks))
    ranks.share(None)  # the writer has written
    found = [ending(workspace)]
    for last in sorted(workspace.checkpoints.glob("step-*"))[:-1]:
        copy = Workspace(root.parent / f"from-{last.name}")
        if ranks.is_writer:
            copy_until(workspace, copy, last=last)
        ranks.share(None)
        train(open_session(config, copy, ranks, attempt=2))
        ranks.share(None)
        found.append(ending(copy))
    return found


def copy_until(workspace: Workspace, copy: Workspace, *, last: Path) -> None:
    """Copy inputs, and the checkpoints until `last`."""
    copy.root.mkdir()
    copy.inputs.symlink_to(workspace.inputs)
    for step in workspace.checkpoints.glob("step-*"):
        if step.name <= last.name:
            shutil.copytree(step, copy.checkpoints / step.name)


def ending(workspace: Workspace) -> tuple[str, dict[int, float | None]]:
    """Return a hash of the newest checkpoint's weights, and the loss of each step."""
    from finetune_trainer.workspace.report import Report

    losses: dict[int, float | None] = {
        point.step: point.loss for point in Report.read(workspace.report).curve if point.loss is not None
    }
    return digest(max(workspace.checkpoints.glob("step-*"))), losses


def train_in_turn(jobs: Sequence[tuple[RunConfig, Path]]) -> list[tuple[str, dict[int, float | None]]]:
    """Train each job to the end; return the last weights and all losses of each."""
    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.train import train

    ranks = join(jobs[0][0])
    found = []
    for config, root in jobs:
        train(open_session(config, Workspace(root), ranks))
        ranks.share(None)  # the writer has written
        found.append(ending(Workspace(root)))
    return found


def train_here(config: RunConfig, root: Path) -> RunResult:
    """Train to the end; return the result."""
    from finetune_trainer.train.gang.ranks import join
    from finetune_trainer.train.train import train

    return train(open_session(config, Workspace(root), join(config)))
