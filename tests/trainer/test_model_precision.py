"""The precision that a model is loaded in: what is stated, what is automatic, and what would not train."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.prepare.checks.precision import check_precision, precision_warnings
from finetune_trainer.recipe.model.load import autocast_dtype, without_bfloat16
from finetune_trainer.recipe.model.precision import precision_arguments
from finetune_trainer.recipe.sharding import sharding_of
from finetune_trainer.workspace.problems import InputProblem
from tests.trainer.model_folders import CPU, TEXT


def job(model: dict[str, Any], training: dict[str, Any] | None = None) -> FinetuneJobSpec:
    train = [{"name": "pages", "source": "hf://demo/pages", "columns": {"query": "q", "positive": "p"}}]
    return FinetuneJobSpec.model_validate(
        {"model": {"source": TEXT} | model, "data": {"train": train}, "training": training or {}}
    )


@pytest.mark.parametrize(
    ("model", "training", "warned"),
    [
        ({"dtype": "bfloat16"}, {"learningRate": 2e-5, "sharding": "None"}, True),
        ({"dtype": "bfloat16"}, {"learningRate": 1e-4, "sharding": "None"}, False),
        ({"dtype": "bfloat16"}, {"learningRate": 2e-5}, False),
        ({"dtype": "float32"}, {"learningRate": 2e-5}, False),
        ({"dtype": "bfloat16", "lora": {}}, {"learningRate": 2e-5}, False),
    ],
)
def test_weights_that_would_hardly_move_are_warned_about(
    model: dict[str, Any], training: dict[str, Any], *, warned: bool
) -> None:
    assert precision_warnings(job(model, training)) == (
        [
            "spec.model.dtype: bfloat16 with learningRate below 0.0001 (2e-05): most weights will not move; "
            "leave spec.training.sharding out, or use float32, which trains with bfloat16 autocast, or lora"
        ]
        if warned
        else []
    )


@pytest.mark.parametrize(
    ("model", "instead"),
    [
        ({}, "float32, which trains with bfloat16 autocast, or with scaled float16 under training.arguments.fp16"),
        ({"lora": {}}, "bfloat16"),
    ],
    ids=["weights", "adapters"],
)
def test_float16_is_warned_about_because_nothing_scales_the_loss(model: dict[str, Any], instead: str) -> None:
    assert precision_warnings(job({"dtype": "float16"} | model)) == [
        "spec.model.dtype: float16 without loss scaling: gradients below 6e-08 become 0, and values above 65504 "
        f"infinite; use {instead}"
    ]


@pytest.mark.parametrize(
    ("model", "arguments", "because"),
    [
        (
            {"dtype": "float16"},
            {},
            "shares are float32, and gradients of float16 weights that are not scaled become 0 or infinite",
        ),
        (
            {},
            {"fp16": True},
            "training.arguments.fp16 scales a loss by looking at all gradients, and each process has a share of them",
        ),
        (
            {},
            {"optim": "adafactor"},
            "the optimizer adafactor is not known to work on shares; adamw_torch, sgd, adagrad and rmsprop do",
        ),
    ],
    ids=["weights", "autocast", "optimizer"],
)
def test_what_cannot_be_shared_out_is_refused_where_it_is_asked_for_and_stays_whole_otherwise(
    model: dict[str, Any], arguments: dict[str, Any], because: str
) -> None:
    for sharding in ("Optimizer", "Full"):
        (problem,) = check_precision(job(model, {"sharding": sharding, "arguments": arguments}))

        assert problem.message == (
            f"spec.training.sharding: {sharding!r} is wrong because {because}; leave it out, or change that"
        )
    assert sharding_of(job({"dtype": "bfloat16"} | model, {"arguments": arguments}), on_cpu=False) == "None"


@pytest.mark.parametrize(
    ("model", "because"),
    [
        ({"lora": {}}, "adapters are trained on weights that stay whole, of which Optimizer shares out as much"),
        (
            {"dtype": "float32"},
            "autocast of float32 weights keeps a copy of every layer until a pass has come back, which bfloat16 "
            "weights, whose shares are float32 as well, do without",
        ),
    ],
    ids=["adapters", "autocast"],
)
def test_full_shares_that_would_spare_nothing_are_refused(model: dict[str, Any], because: str) -> None:
    told = [check_precision(job({"dtype": "bfloat16"} | model, {"sharding": one})) for one in ("Full", "Optimizer")]

    assert [[problem.message for problem in problems] for problems in told] == [
        [f"spec.training.sharding: 'Full' is wrong because {because}; leave it out, or change that"],
        [],
    ]


BECAUSE = "is wrong because this optimizer divides 0 by 0 where a gradient is 0, which leaves no numbers in weights of"


@pytest.mark.parametrize(
    ("dtype", "arguments", "told"),
    [
        ("float16", {"optim": "adamw_torch"}, f"optim: 'adamw_torch' {BECAUSE} float16"),
        ("float16", {"optim": "rmsprop"}, f"optim: 'rmsprop' {BECAUSE} float16"),
        ("float16", {"optim": "adamw_torch", "adam_epsilon": 1e-8}, f"optim: 'adamw_torch' {BECAUSE} float16"),
        ("float32", {"optim": "adamw_torch", "adam_epsilon": 0}, f"adam_epsilon: 0 {BECAUSE} float32"),
    ],
)
def test_an_optimizer_that_would_leave_no_numbers_is_refused(dtype: str, arguments: dict[str, Any], told: str) -> None:
    problems = check_precision(job({"dtype": dtype}, {"arguments": {"weight_decay": 0.1} | arguments}))

    fix = {"float16": "leave it out, or set spec.model.dtype to float32", "float32": "leave it out"}[dtype]
    assert problems == [InputProblem(Reason.INVALID_ARGUMENT, f"spec.training.arguments.{told}; {fix}")]


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ({"dtype": "float16"}, {}),
        ({"dtype": "float16"}, {"optim": "adafactor"}),
        ({"dtype": "float16"}, {"optim": "adamw_torch", "adam_epsilon": 1e-4}),
        ({"dtype": "float16", "lora": {}}, {"optim": "adamw_torch"}),
        ({"dtype": "bfloat16"}, {"optim": "adamw_torch"}),
        ({}, {"optim": "adamw_torch"}),
    ],
)
def test_an_optimizer_that_keeps_numbers_is_taken(model: dict[str, Any], arguments: dict[str, Any]) -> None:
    assert check_precision(job(model, {"arguments": arguments})) == []


@pytest.mark.parametrize(("optimizer", "left"), [("adamw_torch", 0.0), ("adamw_torch_fused", 1.0)])
def test_one_step_of_an_optimizer_that_is_refused_destroys_a_model_of_float16(
    optimizer: str, left: float, tmp_path: Path
) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, optim=optimizer, report_to="none")
    words = torch.nn.Embedding(8, 4, dtype=torch.float16)
    cls, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    words(torch.tensor([0, 1])).sum().backward()

    cls(words.parameters(), **settings).step()

    of_words_in_no_batch = words.weight[2:]
    assert float(torch.isfinite(of_words_in_no_batch).float().mean()) == left


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
        ({"attention": "flash_attention_2"}, "cpu", True, {"dtype": torch.float32}),
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
    monkeypatch.setattr("finetune_trainer.recipe.model.precision.has_flash_attention", lambda: installed)

    assert precision_arguments(Model.model_validate({"source": TEXT} | fields), device=torch.device(device)) == expected


def test_a_model_whose_weights_come_later_has_the_attention_of_where_it_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("finetune_trainer.recipe.model.precision.has_flash_attention", lambda: True)
    spec = Model.model_validate({"source": TEXT, "dtype": "bfloat16"})
    device, computes_on = torch.device("meta"), torch.device("cuda", 0)

    assert precision_arguments(spec, device=device, computes_on=computes_on) == {
        "dtype": torch.bfloat16,
        "attn_implementation": "flash_attention_2",
        "device_map": "meta",
    }


FP16 = {"arguments": {"fp16": True}}
WITHOUT = [
    (
        {},
        {},
        None,
        "spec.model.dtype: float32 is trained without autocast because Tesla T4 has no bfloat16; expect more time and "
        "memory, take an accelerator that has it, or set spec.training.arguments.fp16 to true",
    ),
    ({}, FP16, torch.float16, None),
    (
        {"dtype": "bfloat16"},
        {},
        None,
        "spec.model.dtype: bfloat16 is emulated because Tesla T4 has no bfloat16, and many times slower; take an "
        "accelerator that has it, or float32 with spec.training.arguments.fp16: true",
    ),
    ({"dtype": "float16"}, {}, None, None),
]


@pytest.mark.parametrize(("model", "training", "autocast", "told"), WITHOUT)
def test_a_gpu_without_bfloat16_is_told_of_unless_float16_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
    model: dict[str, Any],
    training: dict[str, Any],
    autocast: torch.dtype | None,
    told: str | None,
) -> None:
    gpu, spec = torch.device("cuda"), job(model, training)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)

    assert autocast_dtype(spec, device=gpu) is autocast
    assert without_bfloat16(spec, device=gpu) == told


def test_nothing_is_told_of_a_gpu_with_bfloat16_and_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)

    assert [without_bfloat16(job({}), device=device) for device in (torch.device("cuda"), CPU)] == [None, None]
    assert [autocast_dtype(job({}), device=device) for device in (torch.device("cuda"), CPU)] == [torch.bfloat16, None]


def test_a_loss_is_scaled_for_float32_weights_alone() -> None:
    assert check_precision(job({"dtype": "bfloat16"}, FP16)) == [
        InputProblem(
            Reason.INVALID_ARGUMENT,
            "spec.training.arguments.fp16: True is wrong because it is autocast of float32 weights, and "
            "spec.model.dtype is bfloat16; leave it out, or set spec.model.dtype to float32",
        )
    ]
    assert check_precision(job({}, FP16)) == []
