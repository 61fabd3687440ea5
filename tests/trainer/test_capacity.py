# ruff: noqa: ANN401 - parts of a manifest
"""What a job needs of memory and storage: arithmetic on the true sizes of known models, and what is said of it."""

from typing import Any

import pytest
import yaml

from finetune_api.types import FinetuneJobSpec
from finetune_cli.local.expected import estimate_manifest
from finetune_trainer.recipe.capacity.estimate import Batch, Job, accumulation_note, estimate
from finetune_trainer.recipe.capacity.figures import InputFigures, ModelFigures, Stack, image_settings, stacks_of
from finetune_trainer.recipe.capacity.need import Line, Need
from tests.contract.model_sizes import QWEN_2B, QWEN_PROCESSOR, SIZES, VIT

PAGES = """
model: {source: hf://Qwen/Qwen3-VL-Embedding-2B, processorKwargs: {size: {shortest_edge: 784, longest_edge: 360000}}}
data:
  train: [{name: pages, source: hf://acme/pages, columns: {query: query, positive: image}}]
  evaluation: [{name: held-out, source: hf://acme/pages, split: eval, columns: {query: query, positive: image}}]
training: {perDeviceTrainBatchSize: 64}
resources: {nodes: 2, accelerator: {perNode: 4}}
storage: {accessMode: ReadWriteMany}
"""


def job(**changes: Any) -> FinetuneJobSpec:
    spec = yaml.safe_load(PAGES)
    for path, value in changes.items():
        *above, last = path.split("__")
        part = spec
        for name in above:
            part = part.setdefault(name, {})
        part[last] = value
    return FinetuneJobSpec.model_validate(spec)


def needs(spec: FinetuneJobSpec) -> dict[str, Need]:
    return {need.resource: need for need in estimate_manifest(spec, SIZES).needs}


def gigabytes(spec: FinetuneJobSpec) -> dict[str, dict[str, float]]:
    """Return the lines of each resource in gigabytes, by what comes last in them."""
    return {
        name: {line.what.rpartition(" of ")[2]: round(line.num_bytes / 1e9, 1) for line in need.lines}
        for name, need in needs(spec).items()
    }


def test_what_a_model_of_2b_parameters_needs_in_float32() -> None:
    assert gigabytes(job()) == {
        "host memory": {
            "weights while a process loads them": 8.5,
            "libraries": 12.0,
            "8.5 GB to save them": 8.5,
            "the checkpoint that is being written": 12.8,
            "loader workers": 4.0,
            "evaluations": 0.8,
            "batches in shared memory": 7.8,
        },
        "shared memory": {
            "12 batches that loaders hold x 64 rows x 8.7 MB at most": 6.6,
            "evaluations x 16 rows x 8.6 MB at most": 1.1,
        },
        "device memory": {
            "weights": 8.5,
            "gradients": 8.5,
            "weights and gradients": 2.1,
            "the optimizer": 2.1,
            "one input at a time; mini-batches take what is left": 7.5,
            "inputs, all that are accumulated": 0.6,
            "CUDA and libraries": 1.5,
        },
        "storage": {"models": 4.3, "best model and result": 17.0, "checkpoints, one being written": 76.6},
    }


def test_what_the_defaults_do_not_hold_is_refused_with_field_need_and_have() -> None:
    told = {name: need.refusal() or need.warning() for name, need in needs(job()).items()}

    assert told == {
        "host memory": "spec.resources.requests.memory: 16Gi (17 GB) may not be enough, as each pod needs about 54 GB "
        "of host memory: 1 x 8.5 GB of weights while a process loads them + 4 x 3.0 GB of libraries + 8.5 GB to save "
        "them + 13 GB of the checkpoint that is being written + 4 x 1.0 GB of loader workers + 4 x 200 MB of loader "
        "workers of evaluations + 7.8 GB of batches in shared memory; ask for 57Gi",
        "shared memory": "spec.resources.sharedMemory: 2Gi (2.1 GB) may not be enough, as each pod needs about 7.8 GB "
        "of shared memory: 12 batches that loaders hold x 64 rows x 8.7 MB at most + 8 batches of evaluations x 16 "
        "rows x 8.6 MB at most; ask for 9Gi",
        "device memory": None,
        "storage": "spec.storage.size: 50Gi (54 GB) is wrong because the job needs at least 98 GB of storage: 4.3 GB "
        "of models + 2 x 8.5 GB of best model and result + 3 x 26 GB of checkpoints, one being written; ask for 102Gi",
    }


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({}, {"weights": 8.5, "gradients": 8.5, "the optimizer": 17.0}),
        ({"model__dtype": "bfloat16"}, {"weights": 4.3, "gradients": 4.3, "the optimizer": 8.5}),
        (
            {"training__arguments": {"optim": "adamw_torch_8bit"}},
            {"weights": 8.5, "gradients": 8.5, "the optimizer": 4.3},
        ),
        ({"training__arguments": {"optim": "sgd"}}, {"weights": 8.5, "gradients": 8.5, "the optimizer": None}),
        (
            {"model__source": "hf://Qwen/Qwen3-VL-Embedding-8B", "model__dtype": "bfloat16"},
            {"weights": 17.5, "gradients": 17.5, "the optimizer": 35.1},
        ),
        (
            {
                "model__source": "hf://Qwen/Qwen3-VL-Embedding-8B",
                "model__dtype": "bfloat16",
                "model__lora": {"targetModules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
            },
            {"weights": 17.6, "gradients": 0.1, "the optimizer": 0.1},
        ),
    ],
)
def test_states_of_training_by_precision_optimizer_and_adapters(
    changes: dict[str, Any], states: dict[str, float | None]
) -> None:
    found = gigabytes(job(**{"training__sharding": "None"} | changes))["device memory"]

    assert {name: found.get(name) for name in states} == states


@pytest.mark.parametrize(
    ("nodes", "dtype", "states"),
    [
        (1, "float32", {"gradients": 8.5, "weights and gradients": 4.3, "the optimizer": 4.3}),
        (2, "float32", {"gradients": 8.5, "weights and gradients": 2.1, "the optimizer": 2.1}),
        (
            2,
            "bfloat16",
            {
                "gradients": 4.3,
                "4.3 GB to sum them in float32": 4.3,
                "weights and gradients": 2.1,
                "the optimizer": 2.1,
            },
        ),
    ],
)
def test_states_are_shared_by_all_processes(nodes: int, dtype: str, states: dict[str, float]) -> None:
    found = gigabytes(job(resources__nodes=nodes, model__dtype=dtype))["device memory"]

    assert {name: found.get(name) for name in states} == states
    assert sum(found.values()) == pytest.approx(
        sum(states.values()) + found["weights"] + sum(found[name] for name in list(found)[-3:]), abs=0.1
    )


FULL_8B = {"model__source": "hf://Qwen/Qwen3-VL-Embedding-8B", "model__dtype": "bfloat16"}


def test_layers_are_whole_one_at_a_time_in_full_shares() -> None:
    found = gigabytes(job(training__sharding="Full", **FULL_8B))["device memory"]

    assert list(found.items())[:6] == [
        ("layers", 3.6),
        ("layers that a pass is in", 1.2),
        ("gradients", 4.0),
        ("4.0 GB to sum them in float32", 4.0),
        ("weights and gradients", 8.8),
        ("the optimizer", 8.8),
    ]


@pytest.mark.parametrize(
    ("changes", "device_bytes", "is_full"),
    [
        ({}, 80e9, False),
        ({}, 40e9, True),
        ({}, 16e9, False),
        ({}, None, False),
        ({"training__sharding": "Optimizer"}, 40e9, False),
        ({"training__arguments": {"optim": "adafactor"}}, 40e9, False),
        ({"model__lora": {}}, 40e9, False),
        ({"model__dtype": "float32"}, 80e9, False),
    ],
    ids=["fits", "does not", "nor does Full", "not known", "stated", "no shares", "adapters", "autocast"],
)
def test_auto_is_full_where_only_that_fits(
    changes: dict[str, Any], device_bytes: float | None, *, is_full: bool
) -> None:
    found = estimate_manifest(job(**FULL_8B | changes), SIZES, device_bytes=device_bytes)

    (device,) = (need for need in found.needs if need.resource == "device memory")
    assert any("outside of layers" in line.what for line in device.lines) is is_full
    assert device.have_bytes == device_bytes
    assert any("Auto is Full" in note for note in found.notes) is (device_bytes is None)


@pytest.mark.parametrize(("evaluated", "nodes", "held"), [(0, 2, 0.0), (1_000_000, 2, 1.2), (1_000_000, 8, 0.5)])
def test_each_process_holds_its_share_of_the_embeddings_that_are_evaluated_and_what_a_search_takes(
    evaluated: int, nodes: int, held: float
) -> None:
    spec, model = job(resources__nodes=nodes), ModelFigures(1, 1, 0, (Stack("language", 2048, 28),))
    counted = Job(spec, model, [Batch(64, (InputFigures(8.64e6),))], on_cpu=False, evaluated=evaluated)

    lines = {line.what: line.num_bytes for need in estimate(counted) for line in need.lines}

    found = [num_bytes for what, num_bytes in lines.items() if what.endswith("of embeddings while evaluating")]
    assert [round(num_bytes / 1e9, 1) for num_bytes in found] == [held] * bool(evaluated)


def test_what_evaluation_sets_take_is_noted_as_nobody_knows_their_size_yet() -> None:
    notes = [estimate_manifest(one, SIZES).notes for one in (job(), job(data__evaluation=[]))]

    told = "a million texts or images to evaluate take 1.2 GB of each process's device memory; not counted"
    assert [told in one for one in notes] == [True, False]


def test_all_batches_of_a_step_lie_on_the_device_at_once() -> None:
    found = gigabytes(job(training__arguments={"gradient_accumulation_steps": 32}))["device memory"]

    assert found["inputs, all that are accumulated"] == 17.7


@pytest.mark.parametrize(
    ("num", "on_cpu", "is_told"), [(1, False, False), (14, False, False), (16, False, True), (16, True, False)]
)
def test_batches_of_a_step_that_fill_much_of_a_device_are_told(num: int, *, on_cpu: bool, is_told: bool) -> None:
    spec = job(training__arguments={"gradient_accumulation_steps": num})
    page = InputFigures(8.64e6)
    counted = Job(spec, ModelFigures(1, 1, 0, ()), [Batch(64, (page,))], on_cpu=on_cpu)

    assert accumulation_note(counted) == (
        "spec.training.arguments.gradient_accumulation_steps: all 16 batches of a step lie on each accelerator at "
        "once, 16 x 553 MB of inputs; lower it, or the size of images"
        if is_told
        else None
    )


def test_a_cpu_holds_weights_and_states_and_no_loader_workers() -> None:
    found = gigabytes(job(resources={"accelerator": {"perNode": 0}}))

    assert found["host memory"] == {
        "weights": 8.5,
        "gradients and optimizer": 25.5,
        "libraries": 1.1,
        "8.5 GB to save them": 8.5,
    }
    assert (found["shared memory"], "device memory" in found) == ({}, False)


def test_the_size_of_a_claim_that_is_there_is_not_known() -> None:
    assert needs(job(storage={"existingClaim": "shared"}))["storage"].verdict == "not stated"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ((Line("a", 2e9),), "does not fit"),
        ((Line("a", 2e9, certain=False),), "may not fit"),
        ((Line("a", 0.95e9),), "tight"),
        ((Line("a", 0.9e9),), "fits"),
    ],
)
def test_what_is_assumed_refuses_nothing(lines: tuple[Line, ...], verdict: str) -> None:
    need = Need("storage", "the job", lines, field="spec.storage.size", stated="1G", have_bytes=1e9)

    assert need.verdict == verdict
    assert (need.refusal() is None, need.warning() is None) == (
        verdict != "does not fit",
        verdict in ("does not fit", "fits"),
    )


def test_stacks_and_images_are_found_in_configurations() -> None:
    assert stacks_of(QWEN_2B.config) == (Stack("language", 2048, 28), Stack("vision", 1024, 24))
    assert stacks_of(VIT.config) == (Stack("vision", 768, 12),)
    assert image_settings({"hidden_size": 384, "vocab_size": 30_522}, {}, {}) is None
    page = image_settings(QWEN_2B.config, QWEN_PROCESSOR, {"size": {"longest_edge": 360_000}})
    picture = image_settings(VIT.config, {}, {})
    assert page is not None
    assert picture is not None
    assert (page.figures.num_bytes, page.figures.tokens) == (8_640_000, {"vision": 1407, "language": 352})
    assert (picture.figures.num_bytes, picture.figures.tokens["vision"]) == (602_112, 196)
