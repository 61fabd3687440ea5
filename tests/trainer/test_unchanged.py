"""Whether training changed anything, by the weights themselves."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from finetune_trainer.publish.unchanged import is_unchanged

WEIGHTS = {
    "norm.weight": torch.ones(4),
    "dense.weight": torch.linspace(-1.7, 3.1, 12).reshape(4, 3),
    "dense.bias": torch.tensor([0.0, 0.1, -0.2, 0.3]),
    "position_ids": torch.arange(4),
}


def save(folder: Path, weights: dict[str, torch.Tensor], *, file: str = "model.safetensors") -> Path:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / file)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save(tmp_path / "base", WEIGHTS)


def test_the_same_weights_are_unchanged_under_other_names_in_other_files_and_without_some(
    base: Path, tmp_path: Path
) -> None:
    save(
        tmp_path / "model",
        {"model.0.bias": WEIGHTS["dense.bias"]},
        file="0_Transformer/model-00001-of-00002.safetensors",
    )
    model = save(
        tmp_path / "model", {"w": WEIGHTS["dense.weight"]}, file="0_Transformer/model-00002-of-00002.safetensors"
    )

    assert is_unchanged(model, [base])


@pytest.mark.parametrize("loaded", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
def test_another_precision_is_no_change(tmp_path: Path, stored: torch.dtype, loaded: torch.dtype) -> None:
    floats = {name: tensor for name, tensor in WEIGHTS.items() if tensor.is_floating_point()}
    base = save(tmp_path / "base", {name: tensor.to(stored) for name, tensor in floats.items()})
    model = save(tmp_path / "model", {name: tensor.to(stored).to(loaded) for name, tensor in floats.items()})

    assert is_unchanged(model, [base])


def test_one_number_of_one_weight_is_a_change(base: Path, tmp_path: Path) -> None:
    changed = WEIGHTS["dense.weight"].clone()
    changed[3, 2] = torch.nextafter(changed[3, 2], torch.tensor(9.0))

    assert not is_unchanged(save(tmp_path / "model", WEIGHTS | {"dense.weight": changed}), [base])


def test_a_weight_that_the_base_model_has_not_is_a_change(base: Path, tmp_path: Path) -> None:
    assert not is_unchanged(save(tmp_path / "model", WEIGHTS | {"head.weight": torch.ones(1, 4)}), [base])


def test_an_adapter_of_nothing_is_merged_without_a_change(tmp_path: Path) -> None:
    weight = torch.tensor([[-0.0, 0.5], [1e-3, -2.0]])
    base = save(tmp_path / "base", {"q_proj.weight": weight})
    merged = weight + torch.zeros(2, 8) @ torch.randn(8, 2)

    assert is_unchanged(save(tmp_path / "model", {"q_proj.weight": merged}), [base])


def test_the_encoders_of_a_router_are_looked_for_in_all_their_models(base: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other", {"weight": torch.full((2, 2), 0.25)})
    save(tmp_path / "model", WEIGHTS, file="query_0_Transformer/model.safetensors")
    model = save(tmp_path / "model", {"weight": torch.full((2, 2), 0.25)}, file="document_0/model.safetensors")

    assert is_unchanged(model, [base, other])
    assert not is_unchanged(model, [base])


def test_weights_of_an_older_format_are_read_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    torch.save(WEIGHTS, base / "pytorch_model.bin")
    (base / "training_args.bin").write_bytes(b"no weights")

    assert is_unchanged(save(tmp_path / "same", WEIGHTS), [base])
    assert not is_unchanged(save(tmp_path / "other", WEIGHTS | {"dense.bias": torch.zeros(4)}), [base])


def test_without_weights_of_a_base_model_nothing_is_unchanged(tmp_path: Path) -> None:
    assert not is_unchanged(save(tmp_path / "model", WEIGHTS), [tmp_path / "nowhere"])
