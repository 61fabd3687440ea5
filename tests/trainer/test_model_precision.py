"""The precision that a model is loaded in: what is stated, what is automatic, and what would not train."""

from typing import Any

import pytest
import torch

from finetune_api.model import Model
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.checks.model import precision_warnings
from finetune_trainer.model.precision import precision_arguments
from tests.trainer.model_folders import TEXT


@pytest.mark.parametrize(
    ("model", "learning_rate", "warned"),
    [
        ({"dtype": "bfloat16"}, 2e-5, True),
        ({"dtype": "bfloat16"}, 1e-4, False),
        ({"dtype": "float32"}, 2e-5, False),
        ({"dtype": "bfloat16", "lora": {}}, 2e-5, False),
    ],
)
def test_weights_that_would_hardly_move_are_warned_about(
    model: dict[str, Any], learning_rate: float, *, warned: bool
) -> None:
    train = [{"name": "pages", "source": "hf://demo/pages", "columns": {"query": "q", "positive": "p"}}]
    spec = FinetuneJobSpec.model_validate(
        {"model": {"source": TEXT} | model, "data": {"train": train}, "training": {"learningRate": learning_rate}}
    )

    assert precision_warnings(spec) == (
        [
            "spec.model.dtype: bfloat16 with learningRate below 0.0001 (2e-05): most weights will not move; use "
            "float32, "
            "which trains with bfloat16 autocast, or lora"
        ]
        if warned
        else []
    )


def test_most_bfloat16_weights_never_move_at_small_learning_rates() -> None:
    def share_that_stays(dtype: torch.dtype, learning_rate: float) -> float:
        generator = torch.Generator().manual_seed(0)
        weights = torch.nn.Parameter((torch.randn(20_000, generator=generator) * 0.02).to(dtype))
        before = weights.detach().clone()
        optimizer = torch.optim.AdamW([weights], lr=learning_rate, weight_decay=0.0)
        for _ in range(50):
            weights.grad = torch.randn(20_000, generator=generator).to(dtype)
            optimizer.step()
        return float((weights == before).float().mean())

    slow, fast = share_that_stays(torch.bfloat16, 5e-6), share_that_stays(torch.bfloat16, 1e-3)
    assert slow > 0.5
    assert fast < 0.5 * slow
    assert share_that_stays(torch.float32, 5e-6) < 0.01


@pytest.mark.parametrize(
    ("fields", "device", "installed", "expected"),
    [
        ({}, "cpu", True, {"dtype": torch.float32}),
        ({"dtype": "bfloat16"}, "cpu", True, {"dtype": torch.bfloat16}),
        ({"dtype": "bfloat16"}, "cuda", False, {"dtype": torch.bfloat16}),
        (
            {"dtype": "bfloat16"},
            "cuda",
            True,
            {"dtype": torch.bfloat16, "attn_implementation": "flash_attention_2"},
        ),
        ({}, "cuda", True, {"dtype": torch.float32}),
        ({"attention": "eager"}, "cuda", True, {"dtype": torch.float32, "attn_implementation": "eager"}),
        (
            {"attention": "eager"},
            "meta",
            True,
            {"dtype": torch.float32, "attn_implementation": "eager", "device_map": "meta"},
        ),
        ({"attention": "flash_attention_2"}, "meta", True, {"dtype": torch.float32, "device_map": "meta"}),
    ],
)
def test_precision_and_attention_are_those_stated_and_automatic_attention_is_the_fastest_there_is(
    fields: dict[str, Any],
    device: str,
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    *,
    installed: bool,
) -> None:
    # flash_attn needs an accelerator to be installed at all.
    monkeypatch.setattr("finetune_trainer.model.precision.has_flash_attention", lambda: installed)

    assert precision_arguments(Model.model_validate({"source": TEXT} | fields), device=torch.device(device)) == expected
