import json
from pathlib import Path

import pytest

from benchmarks.training.gpu.flops import forward_flops, peak_flops
from benchmarks.training.gpu.side import SCRIPT, Known, Side, goals
from benchmarks.training.meter import Fed, Step

FED = Fed(tokens=1000, token_pairs=50_000, patches=0, patch_pairs=0)


def step(seconds: float, *, busy: float = 0.9, loss: float = 4.0) -> Step:
    """Return a step of which so large a share was forward and backward."""
    return Step(seconds=seconds, busy_seconds=busy * seconds, loss=loss, fed=FED)


def test_what_a_process_begins_with_does_not_count_and_resumed_steps_do() -> None:
    known = Known(device="cpu")

    known.add("trainer", [step(30), step(20), step(2), step(2)], 5)
    known.add("trainer", [step(30), step(20), step(1), step(1)], 3)

    (side,) = known.sides.values()
    assert (len(side.steps), side.step_seconds, side.tokens_per_second) == (4, 1.5, 4000 / 6)
    assert side.outside == pytest.approx(0.1)
    assert side.device_peak_bytes == 5


def test_a_side_that_ended_while_it_warmed_up_is_missing_and_takes_no_other_with_it() -> None:
    known = Known(device="cpu")

    known.add("script, bfloat16", [], 0)

    assert (known.sides, known.missing) == ({}, {"script, bfloat16": "it ended after 0 steps"})


def test_goals_are_told_with_what_was_measured() -> None:
    trainer, like_script = (Side(runs=[[step(1, busy=busy)] * 4]) for busy in (0.95, 0.8))
    script = Side(runs=[[step(3, loss=4.2)] * 3])

    found = list(goals(trainer, script, like_script, utilisation=0.5))

    assert found == [
        ("2 times the script's tokens per second", "3.00 times", True),
        ("at equal loss in the same precision", "4.76% apart at most", False),
        ("45 % of the device's FLOPs in forward and backward", "50.0%", True),
        ("under 10 % outside forward and backward", "5.0%", True),
    ]


def test_utilisation_is_not_made_up_for_a_device_whose_peak_is_not_known() -> None:
    assert Side(runs=[[step(1)] * 4]).utilisation({}, peak_flops("cpu")) is None


def test_without_a_gpu_random_weights_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from benchmarks.training.__main__ import main

    if torch.cuda.device_count():
        pytest.skip("this machine has a GPU")

    code = main(["gpu", "--random-weights"])

    assert code == 2
    assert capsys.readouterr().err == (
        "gpu: no GPU is visible; take a machine with one, or see what it does with --toy\n"
    )


@pytest.mark.training
def test_the_model_has_the_shape_of_the_published_one() -> None:
    import torch
    from transformers import AutoModel

    from benchmarks.training.gpu.inputs import QWEN_2B, resize
    from examples.inputs.tiny_qwen3_vl import build_config, build_tokenizer

    with torch.device("meta"):
        model = AutoModel.from_config(resize(build_config(build_tokenizer(["a page"])), QWEN_2B))

    assert sum(one.numel() for one in model.parameters()) == 2_127_532_032


@pytest.mark.training
def test_operations_are_as_many_as_pytorch_counts() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    from examples.inputs.tiny_qwen3_vl import build_config, build_tokenizer

    tokenizer = build_tokenizer(["a page"])
    config = build_config(tokenizer)
    model = AutoModel.from_config(config, attn_implementation="eager")
    tokens, grid = 24, torch.tensor([[1, 4, 6]])
    patches, merged = int(grid.prod()), int(grid.prod()) // 4
    ids = torch.tensor([[config.image_token_id] * merged + [1] * (tokens - merged)])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "image_grid_thw": grid,
        "pixel_values": torch.rand(patches, 3 * 2 * 16 * 16),
        "mm_token_type_ids": (ids == config.image_token_id).int(),
    }

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**inputs)

    fed = Fed.of({f"image_{name}": value for name, value in inputs.items()})
    assert fed == Fed(tokens=24, token_pairs=24 * 24, patches=24, patch_pairs=24 * 24)
    assert forward_flops(fed, config.to_dict()) == pytest.approx(counter.get_total_flops(), rel=1e-3)


@pytest.mark.training
def test_all_sides_are_measured_at_toy_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import figures
    from benchmarks.training.gpu.inputs import TOY
    from benchmarks.training.gpu.run import run_gpu
    from benchmarks.training.gpu.ways import LIKE_SCRIPT, MAIN, OTHERS

    monkeypatch.setattr(figures, "FOLDER", tmp_path)

    run_gpu(tmp_path, TOY, budget_seconds=100_000)

    known = Known.model_validate(json.loads((tmp_path / "training-gpu.json").read_text()))
    assert known.missing == {}
    assert {name: len(side.losses) for name, side in known.sides.items()} == {
        MAIN.name: 6,
        SCRIPT: 6,
        **{way.name: 6 for way in OTHERS},
    }
    assert set(known.seconds) == {
        "making the inputs",
        "prepare",
        "evaluation of 15 pages",
        "training stands still for a checkpoint",
        "until the checkpoint is on the volume",
        "from starting a process that resumes to its first step",
    }
    assert known.sides[LIKE_SCRIPT.name].losses == pytest.approx(known.sides[SCRIPT].losses, rel=0.02)
