# ruff: noqa: ANN401 - torch's and the library's types are imported where a test needs them
"""The arithmetic of estimates held against what is really taken: by weights, images, checkpoints and activations."""

from math import prod
from pathlib import Path
from typing import Any

import pytest

from finetune_api.workspace import Workspace
from finetune_cli.local.model_files import ModelFiles
from finetune_trainer.recipe.capacity.estimate import KEPT, checkpoint_bytes
from finetune_trainer.recipe.capacity.figures import ImageSettings, ModelFigures
from tests.contract.model_sizes import QWEN_2B, QWEN_8B
from tests.trainer.train_inputs import prepare_texts, run_config
from tests.trainer.trainers import PLAIN, train_here

VISION_2B: dict[str, Any] = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "out_hidden_size": 2048}
VISION_8B: dict[str, Any] = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "out_hidden_size": 4096}


@pytest.mark.parametrize(
    ("files", "vision", "deepstack", "tied"),
    [(QWEN_2B, VISION_2B, [5, 11, 17], True), (QWEN_8B, VISION_8B, [8, 16, 24], False)],
    ids=["2B", "8B"],
)
def test_the_weights_of_known_models_are_those_that_the_library_builds(
    files: ModelFiles, vision: dict[str, Any], deepstack: list[int], *, tied: bool
) -> None:
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = files.config["text_config"]
    sizes = {"num_attention_heads": text["hidden_size"] // 128, "num_key_value_heads": 8, "head_dim": 128}
    config = Qwen3VLConfig(
        text_config=text | sizes | {"intermediate_size": 3 * text["hidden_size"]},
        vision_config=vision | {"num_heads": 16, "patch_size": 16, "deepstack_visual_indexes": deepstack},
        tie_word_embeddings=tied,
    )

    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(config)

    assert sum(one.numel() for one in model.parameters()) == sum(prod(shape) for shape in files.shapes.values())


def test_an_image_takes_as_many_bytes_as_its_pixels_say(tiny_model: Path) -> None:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model), device="cpu")
    vision = model[0].model.config.vision_config
    features = model.preprocess([Image.new("RGB", (192, 256))])

    settings = ImageSettings(192 * 256, vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)

    assert features["pixel_values"].nbytes == settings.figures.num_bytes
    assert features["pixel_values"].shape[0] == settings.figures.tokens["vision"]
    assert features["image_grid_thw"].prod() / vision.spatial_merge_size**2 == settings.figures.tokens["language"]


def test_a_checkpoint_takes_weights_and_two_numbers_for_each(text_model: Path, tmp_path: Path) -> None:
    config = run_config(
        training={"loss": {"name": PLAIN}, "perDeviceTrainBatchSize": 4, "maxSteps": 1},
        evaluation={},
        resources={"accelerator": {"perNode": 0}},
        checkpoint={"everySteps": 1},
    )
    workspace = prepare_texts(tmp_path / "workspace", config, model=text_model)
    train_here(config, workspace.root)
    (checkpoint,) = workspace.checkpoints.iterdir()
    parameters = 22_713_216

    expected = checkpoint_bytes(config.spec, ModelFigures(parameters, parameters, 0, ()))

    assert size_of(checkpoint) == pytest.approx(expected, rel=0.01)
    assert size_of(Workspace(workspace.root).model) == pytest.approx(4 * parameters, rel=0.02)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def qwen3(num_layers: int) -> Any:
    """Return a language model of the proportions of Qwen3-VL-2B's."""
    from transformers import Qwen3Config, Qwen3Model

    sizes = {"hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 8, "num_key_value_heads": 4}
    return Qwen3Model(Qwen3Config(**sizes, head_dim=64, num_hidden_layers=num_layers, vocab_size=1000))


def vision_like(num_layers: int) -> Any:
    """Return layers as vision towers have them: layer norms, GELU, 4 times as wide inside, no dropout."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6}
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertModel(BertConfig(**sizes, **without, num_hidden_layers=num_layers, vocab_size=1000))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("stack", "build"), [("language", qwen3), ("vision", vision_like)])
def test_what_is_kept_for_a_backward_pass_grows_with_tokens_layers_and_width_as_counted(
    stack: str, build: Any, dtype: str
) -> None:
    import torch

    from finetune_trainer.train.loop.kept_graphs import saved_bytes

    def kept(num_layers: int, rows: int) -> int:
        model = build(num_layers).to(getattr(torch, dtype)).train()
        tokens = torch.ones(rows, 64, dtype=torch.long)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "float32"), saved_bytes(model) as sizes:
            model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        return sum(sizes.values())

    # Differences leave out embeddings, and the copies of weights that autocast makes.
    of_a_row = (kept(4, 4) - kept(4, 2) - kept(2, 4) + kept(2, 2)) / (2 * 64 * 2)

    assert of_a_row / build(1).config.hidden_size == pytest.approx(KEPT[stack][dtype], rel=0.02)
