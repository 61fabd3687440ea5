"""How a model's embeddings are compared: as the spec says, also by those who load the result."""

import json
from pathlib import Path

import pytest

from finetune_api.model import Model
from finetune_api.workspace import Workspace


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "cosine"),
        ({"similarity": "Dot"}, "dot"),
        ({"similarity": "Euclidean"}, "euclidean"),
        ({"similarity": "Manhattan"}, "manhattan"),
    ],
)
def test_embeddings_are_compared_as_the_spec_says_and_the_saved_model_too(
    text_model: Path, tmp_path: Path, spec: dict[str, str], expected: str
) -> None:
    import torch

    from finetune_trainer.recipe.model.load import load_model
    from finetune_trainer.train.checkpoints.save import save_model

    workspace = Workspace(tmp_path)
    workspace.base_model.parent.mkdir(parents=True)
    workspace.base_model.symlink_to(text_model)
    model = load_model(
        Model.model_validate({"source": "hf://demo/model"} | spec), workspace, device=torch.device("cpu"), seed=0
    )

    save_model(model, tmp_path / "saved")

    assert model.similarity_fn_name == expected
    assert (
        json.loads((tmp_path / "saved" / "config_sentence_transformers.json").read_bytes())["similarity_fn_name"]
        == expected
    )
