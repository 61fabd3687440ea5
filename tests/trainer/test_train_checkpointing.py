"""Activation checkpointing: layers run once more instead of keeping what they computed, and training is the same."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.model_folders import EMBEDDER
from tests.trainer.test_train_paths import (
    ALONE,
    CACHED_BY_TWO,
    LORA,
    WAYS,
    Trained,
    Way,
    prepare,
    reranker,
    train_and_watch,
)
from tests.trainer.test_train_whole import ENDINGS
from tests.trainer.trainers import PLAIN, open_session, open_trainer

OLD_NAMES = {"gradient_checkpointing": True}
REENTRANT = {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": True}}
#: Chance has to fall the same when a layer runs again.
DROPPING = {"lora": {"rank": 4, "dropout": 0.2}}
SHORTENED = CACHED_BY_TWO | {"matryoshkaDimensions": [64, 16]}


@dataclass(frozen=True)
class Case:
    """What is trained without checkpointing, and with it."""

    way: Way
    arguments: Mapping[str, Any]
    """That ask for checkpointing."""
    spare_bytes: int = 0
    """Room for graphs of the cached loss, as an accelerator has it."""


CASES = {
    "all weights": Case(Way({"source": EMBEDDER}, loss={"name": PLAIN}), OLD_NAMES),
    "cached loss": Case(Way({"source": EMBEDDER}), OLD_NAMES),
    "adapters": Case(Way({"source": EMBEDDER} | DROPPING, loss={"name": PLAIN}), OLD_NAMES),
    "adapters, cached loss": Case(Way({"source": EMBEDDER} | LORA | DROPPING, loss=SHORTENED), OLD_NAMES),
    "adapters, cached loss, reentrant": Case(Way({"source": EMBEDDER} | DROPPING), REENTRANT),
    "adapters, cached loss, graphs kept": Case(
        Way({"source": EMBEDDER} | LORA | DROPPING, loss=SHORTENED), OLD_NAMES, spare_bytes=10**12
    ),
    "router by modality, cached loss": Case(WAYS["router by modality"], OLD_NAMES),
    "router by task": Case(ENDINGS["router by task"], OLD_NAMES),
    "reranker of a language model's head": Case(reranker("language model head"), OLD_NAMES),
    "reranker of a dense head": Case(WAYS["dense head on the last token"], OLD_NAMES),
}


Counted = tuple[Trained, Counter[str]]
"""A training, and how often each of its attention layers ran."""


def train_and_count(jobs: Sequence[tuple[RunConfig, Path, int]]) -> list[Counted]:
    """Train each job with its room for graphs."""
    import gc

    import torch

    from finetune_trainer.train.gang.ranks import Ranks

    gc.freeze()  # each training collects garbage; what was imported needs no looking through
    found = []
    for config, root, spare_bytes in jobs:
        runs: Counter[str] = Counter()
        with mock.patch("finetune_trainer.train.loop.kept_graphs.spare_bytes", return_value=spare_bytes):
            trainer, _ = open_trainer(open_session(config, Workspace(root), Ranks()))
        for name, module in trainer.model.named_modules():
            if name.endswith(("attn", "attention")):
                module.register_forward_pre_hook(lambda *_, runs=runs, name=name: runs.update([name]))
        torch.manual_seed(0)
        found.append((train_and_watch(trainer), runs))
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Counted]]:
    """Each case without checkpointing, and with it."""
    jobs = [
        (*prepare(tmp_path_factory.mktemp("case"), way)[ALONE], case.spare_bytes)
        for case in CASES.values()
        for way in (case.way, replace(case.way, arguments=case.arguments))
    ]
    (found,) = start_gang(train_and_count, jobs, world_size=1).results()
    return {name: found[2 * number : 2 * number + 2] for number, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_training_is_the_same_with_layers_that_run_again(name: str, trained: dict[str, list[Counted]]) -> None:
    (kept, runs), (again, more_runs) = trained[name]

    with_gradient = {layer for layer in runs if any(one.startswith(layer) for one in kept.gradients[-1])}
    assert {layer for layer in runs if more_runs[layer] > runs[layer]} == with_gradient != set()
    assert again.losses == kept.losses
    assert again.weights == kept.weights
    assert len(set(kept.losses)) == len(kept.losses)


def test_kept_graphs_spare_runs_beside_checkpointing(trained: dict[str, list[Counted]]) -> None:
    (_, (twice, runs)), (_, (once, fewer_runs)) = (
        trained[f"adapters, cached loss{more}"] for more in ("", ", graphs kept")
    )

    assert fewer_runs.total() < runs.total()
    assert once.weights == twice.weights
