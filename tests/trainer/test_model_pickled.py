"""Weights in pickles, where a model has no others, are read as numbers and never run."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.modules import check_modules
from finetune_trainer.prepare.checks.signing import installed
from finetune_trainer.prepare.fetch.selection import select_model_files
from finetune_trainer.workspace.failures import RunFailure


class Trap:
    """Makes a folder when it is unpickled with code allowed."""

    def __init__(self, made: Path) -> None:
        self.made = str(made)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.made,)


def pickled(text_model: Path, root: Path, extra: dict[str, Any]) -> Workspace:
    """Return a workspace whose base model has its weights in a pickle, with something `extra`."""
    import torch
    from safetensors.torch import load_file

    workspace = Workspace(root)
    shutil.copytree(text_model, workspace.base_model, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = load_file(text_model / "model.safetensors")
    torch.save({**weights, **extra}, workspace.base_model / "pytorch_model.bin")
    return workspace


def load(workspace: Workspace, **fields: Any) -> Any:  # noqa: ANN401 - torch is imported late
    import torch

    from finetune_trainer.recipe.model.load import load_model

    return load_model(Model(source="hf://acme/old", **fields), workspace, device=torch.device("cpu"), seed=1)


def test_a_model_of_pickled_weights_alone_is_trained(text_model: Path, tmp_path: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    model = load(pickled(text_model, tmp_path, {}), dtype="float32")

    expected = SentenceTransformer(str(text_model), device="cpu").encode("a page", convert_to_tensor=True)
    assert torch.allclose(model.encode("a page", convert_to_tensor=True), expected, atol=1e-5)


@pytest.mark.parametrize("asked", [{}, {"modelKwargs": {"weights_only": False}}])
def test_code_in_a_pickle_is_not_run_and_the_model_refused_before_training(
    text_model: Path, tmp_path: Path, asked: dict[str, Any]
) -> None:
    from finetune_trainer.prepare.checks.model import inspect_model

    made = tmp_path / "made-by-the-pickle"
    workspace = pickled(text_model, tmp_path / "workspace", {"trap": Trap(made)})

    with pytest.raises(RunFailure) as failure:
        inspect_model(Model(source="hf://acme/old"), workspace)
    with pytest.raises(pickle.UnpicklingError):
        load(workspace, **asked)

    assert (failure.value.reason, failure.value.message) == (
        Reason.UNSUPPORTED_MODEL,
        "spec.model.source: a file of weights is a pickle that holds more than numbers, which could be code and is "
        "never run; save hf://acme/old as safetensors",
    )
    assert not made.exists()


@pytest.mark.parametrize(
    "spec",
    [
        {"modelKwargs": {"weights_only": False}},
        {"modules": [{"type": "Transformer", "arguments": {"model_kwargs": {"weights_only": False}}}]},
    ],
)
def test_no_manifest_can_ask_for_code_in_pickles(spec: dict[str, Any]) -> None:
    problems = check_modules(Model(source="hf://acme/old", **spec), installed().modules)

    assert [(one.because, one.fix) for one in problems if one.path.endswith("weights_only")] == [
        ("it is not the manifest's to give", "leave it out: code in files of weights is never run")
    ]


def test_pickles_are_fetched_only_where_no_safetensors_lie_beside_them() -> None:
    files = ["model.safetensors", "pytorch_model.bin", "2_Dense/pytorch_model.bin", "rust_model.ot", "mine.py"]

    assert select_model_files(files) == ["model.safetensors", "2_Dense/pytorch_model.bin"]
