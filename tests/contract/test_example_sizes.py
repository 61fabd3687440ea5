"""The manifests that are shown for GPUs ask for the memory, shared memory and storage that they need.

By arithmetic, since nothing here has run on a GPU: each process has its weights in host memory while it loads them, and
its data loader holds prepared batches in /dev/shm.
"""

from pathlib import Path

import pytest
import yaml

from finetune_api.quantities import parse_quantity
from finetune_api.types import FinetuneJobSpec
from tests.contract.test_examples import ROOT, manifests_in

PARAMETERS = {
    "hf://Qwen/Qwen3-VL-2B-Instruct": 2.13e9,
    "hf://Qwen/Qwen3-VL-Embedding-2B": 2.13e9,
    "hf://Qwen/Qwen3-VL-Embedding-8B": 8.77e9,
}
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
#: A patch of 16 x 16 pixels becomes 2 frames x 3 colours x 16 x 16 float32 numbers.
BYTES_PER_PIXEL = 24
#: What the data loader of a process has: at most so many workers (finetune_trainer/recipe/arguments/training.py), and
#: of each so many batches that wait (torch's default).
MAX_LOADER_WORKERS = 8
PREFETCHED = 2
#: Of a page where the manifest sets no limit: the models' own.
OWN_PIXELS = 1_310_720
#: Host memory of a process with its libraries and CUDA, and of one loader worker: assumed, not measured.
PROCESS_BYTES = 3e9
WORKER_BYTES = 1e9
ADAM_STATES = 2


def shown() -> dict[str, FinetuneJobSpec]:
    """Return the jobs on large models by where they are shown: the examples, and the README's if it has one."""
    texts = {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.yaml"))}
    texts |= {
        f"README.md {number}": one for number, one in enumerate(manifests_in(Path(ROOT, "README.md").read_text()))
    }
    specs = {name: yaml.safe_load(text)["spec"] for name, text in texts.items()}
    large = {name: spec for name, spec in specs.items() if spec["model"].get("source") in PARAMETERS}
    return {name: FinetuneJobSpec.model_validate(spec) for name, spec in large.items()}


SHOWN = shown()


def processes(spec: FinetuneJobSpec) -> int:
    return max(1, spec.resources.accelerator.per_node)


def weight_bytes(spec: FinetuneJobSpec) -> float:
    return PARAMETERS[str(spec.model.source)] * BYTES[spec.model.dtype]


def loader_workers(spec: FinetuneJobSpec) -> int:
    return min(MAX_LOADER_WORKERS, max(1, int(parse_quantity(spec.resources.requests.cpu)) // processes(spec)))


def loaded_bytes(spec: FinetuneJobSpec) -> float:
    """Return what the loaders of one pod hold: of each process the batches that wait and the one in use."""
    pixels: int = spec.model.processor_kwargs.get("size", {}).get("longest_edge", OWN_PIXELS)
    pages = max(1 + len(train.columns.negatives) for train in spec.data.train)
    batch = spec.training.per_device_train_batch_size * pages * pixels * BYTES_PER_PIXEL
    return processes(spec) * (loader_workers(spec) * PREFETCHED + 1) * batch


@pytest.mark.parametrize("name", SHOWN)
def test_shared_memory_holds_the_batches_that_the_loaders_have_ready(name: str) -> None:
    assert loaded_bytes(SHOWN[name]) <= parse_quantity(SHOWN[name].resources.shared_memory)


@pytest.mark.parametrize("name", SHOWN)
def test_memory_holds_the_weights_of_all_processes_and_what_is_beside_them(name: str) -> None:
    spec = SHOWN[name]
    weights = weight_bytes(spec)
    each = weights + PROCESS_BYTES + loader_workers(spec) * WORKER_BYTES
    saving = weights  # of the process that writes

    needed = processes(spec) * each + saving + loaded_bytes(spec)

    assert needed <= parse_quantity(spec.resources.requests.memory)


@pytest.mark.parametrize("name", SHOWN)
def test_storage_holds_the_models_and_the_checkpoints_with_half_of_it_left_for_the_data(name: str) -> None:
    spec = SHOWN[name]
    base_and_best = PARAMETERS[str(spec.model.source)] * BYTES["bfloat16"] + 2 * weight_bytes(spec)
    checkpoint = 0 if spec.model.lora else weight_bytes(spec) * (1 + ADAM_STATES)

    needed = base_and_best + (spec.checkpoint.keep + 1) * checkpoint

    assert 2 * needed <= parse_quantity(spec.storage.size)


def test_the_manifests_on_large_models_are_looked_at() -> None:
    assert {"lora.yaml", "multi-node.yaml", "multimodal-reranker.yaml", "qwen3-vl-vdr.yaml"} <= set(SHOWN)
