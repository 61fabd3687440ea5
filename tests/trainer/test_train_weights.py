"""What a checkpoint holds: the weights that training changes and the optimizer's state of them, each once."""

from pathlib import Path
from typing import Any

import pytest

from examples.inputs.tiny_qwen3_vl import build_tiny_qwen3_vl, build_tiny_qwen3_vl_checkpoint
from finetune_api.contract import RunConfig
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, PLAIN, VLM_RERANKER, read_checkpoint, train_here

SENTENCES = ["question number 1", "answer number 2"]
TRAINING = {"perDeviceTrainBatchSize": 2, "maxSteps": 1, "warmupRatio": 0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_tiny_qwen3_vl(folder / "Embedding", sentences=SENTENCES)
    build_tiny_qwen3_vl_checkpoint(folder / "Reranker", sentences=SENTENCES)
    return folder


def train_one_step(root: Path, models: Path, *, loss: str, **model: Any) -> Workspace:  # noqa: ANN401 - spec.model
    """Train on texts; return the workspace."""
    config: RunConfig = run_config(
        model={"source": "hf://demo/tiny"} | model, training=TRAINING | {"loss": {"name": loss}}, evaluation={}
    )
    cells = {"query": ["q 1", "q 2"], "positive": ["a 1", "a 2"]}
    workspace = prepare_sets(root, config, model=models / config.spec.model.kind, sets=[text_set("pages", cells)])
    start_gang(train_here, config, root, world_size=1).results()
    return workspace


def stored(workspace: Workspace) -> tuple[set[str], int]:
    """Return the names of the weights in the checkpoint, and how many the optimizer has state of."""
    names = read_checkpoint(workspace.checkpoints / "step-000001")
    weights = {name.removeprefix("weights.") for name in names if name.startswith("weights.")}
    return weights, sum(name.startswith("optimizer.exp_avg.") for name in names)


def test_a_checkpoint_holds_what_resuming_needs_and_no_arguments(models: Path, tmp_path: Path) -> None:
    workspace = train_one_step(tmp_path / "run", models, loss=CACHED)

    assert {path.name for path in (workspace.checkpoints / "step-000001").iterdir()} == {
        "manifest.json",
        "history.json",
        "mini-batches.json",
        "__0_0.distcp",
        ".metadata",
        "schedule.pt",
        "rng_state.pth",
        "trainer_state.json",
    }


def test_of_a_model_with_adapters_only_those_are_stored(models: Path, tmp_path: Path) -> None:
    lora = {"rank": 4, "targetModules": ["q_proj", "v_proj"]}

    names, with_state = stored(train_one_step(tmp_path / "run", models, loss=CACHED, lora=lora))

    layers = [
        f"0.model.language_model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
    ]
    assert names == {f"{layer}.lora_{side}.default.weight" for layer in layers for side in "AB"}
    assert with_state == len(names)


def test_the_model_with_adapters_is_saved_as_one_without(models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    workspace = train_one_step(tmp_path / "run", models, loss=CACHED, lora={"rank": 4, "targetModules": ["q_proj"]})

    before, after = (load_file(folder / "model.safetensors") for folder in (workspace.base_model, workspace.model))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert after.keys() == before.keys()
    assert changed == {f"language_model.layers.{layer}.self_attn.q_proj.weight" for layer in (0, 1)}


def test_frozen_parameters_are_neither_stored_nor_changed(models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    workspace = train_one_step(tmp_path / "run", models, loss=PLAIN, freeze=["0.model.visual.*", "*embed_tokens*"])

    names, with_state = stored(workspace)
    before, after = (load_file(folder / "model.safetensors") for folder in (workspace.base_model, workspace.model))
    frozen = {name for name in before if name.startswith("visual.") or "embed_tokens" in name}
    assert {f"0.model.{name}" for name in before.keys() - frozen} == names
    assert all(before[name].equal(after[name]) for name in frozen)
    assert 0 < with_state <= len(names)


def test_tied_weights_are_stored_once(models: Path, tmp_path: Path) -> None:
    names, _ = stored(train_one_step(tmp_path / "run", models, loss=PLAIN, **VLM_RERANKER))

    assert "0.model.model.language_model.embed_tokens.weight" in names
    assert not any("lm_head" in name for name in names)
