"""How much host memory, shared memory, device memory and storage a job needs. Pure.

Decimal gigabytes, as vendors of devices count. What is assumed here and not measured is said beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from finetune_api.losses import LOSS_ALIASES
from finetune_api.quantities import parse_quantity
from finetune_api.sense import evaluation_sets, objective_of
from finetune_api.types import FinetuneJobSpec, Sharding
from finetune_trainer.recipe.batches.schedule import plan
from finetune_trainer.recipe.capacity import evaluation
from finetune_trainer.recipe.capacity.figures import InputFigures, ModelFigures
from finetune_trainer.recipe.capacity.need import Line, Need, gigabytes
from finetune_trainer.recipe.sharding import refuses_full_shares, sharding_of, trained_dtype

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
#: Numbers that an optimizer keeps for each weight, by the beginning of its name, and the bytes of each where these are
#: not those of the weight.
_STATES = {"adafactor": 0.0, "sgd": 0.0, "adagrad": 1.0, "rmsprop": 1.0, "lion": 1.0}
_ADAM_STATES = 2.0
#: Host memory of a process with its libraries on the CPU: measured, docs/benchmarks.md.
PROCESS_BYTES = 1.1e9
#: With CUDA and the kernels of its libraries, and of each loader worker: assumed.
CUDA_PROCESS_BYTES = 3e9
WORKER_BYTES = 1e9
#: Device memory of CUDA itself and of the libraries' buffers: assumed.
DEVICE_BYTES = 1.5e9
#: Layers that a process has whole with sharding Full: the one that a pass is in, the next, and what gathers it.
_LAYERS_AT_ONCE = 3
#: Bytes that are kept for the backward pass, for each token, layer and unit of width, by precision of the weights:
#: measured on a CPU with Qwen3 of 2B's proportions and with BERT (docs/benchmarks.md), whose layers are those of vision
#: towers. float32 is that of autocast; without it half as much again.
KEPT = {
    "language": {"float32": 65.0, "bfloat16": 55.0, "float16": 55.0},
    "vision": {"float32": 40.0, "bfloat16": 32.0, "float16": 32.0},
}
#: A tenth of what is common.
MUCH_ON_A_DEVICE_BYTES = 8e9
#: Of checkpoints that are written by the clock. How long a step takes is not known.
_STEPS_BETWEEN = 100
#: Batches that torch's data loader prepares for each worker.
_PREFETCHED = 2
MAX_LOADER_WORKERS = 8


@dataclass(frozen=True)
class Batch:
    """What one process makes a step of: so many rows of one text or image per column."""

    rows: int
    columns: tuple[InputFigures, ...]

    @property
    def num_bytes(self) -> float:
        """Return what loader workers hand over for it, at most."""
        return self.rows * sum(one.num_bytes for one in self.columns)

    @property
    def usual_bytes(self) -> float:
        """Return what they hand over for one of the mean size, 0 if that is not known."""
        return self.rows * sum(one.usual_bytes for one in self.columns)


@dataclass(frozen=True)
class Job:
    """What is needed of a job, and what it is to train."""

    spec: FinetuneJobSpec
    model: ModelFigures
    batches: Sequence[Batch]
    """Of each training set, in the order of the spec."""
    on_cpu: bool
    device_bytes: float | None = None
    """Memory of an accelerator; None if that is not known."""
    data_bytes: float | None = None
    """Of what lies on the volume already, models included; None if that is not known."""
    batches_per_epoch: int | None = None
    """Of each process, at least; None if that is not known, which is taken for many."""
    evaluated: int = 0
    """Texts and images of all evaluation sets; 0 if that is not known."""

    @property
    def largest(self) -> Batch:
        """Return the batch of the most bytes."""
        return max(self.batches, key=lambda one: one.num_bytes)


def estimate(job: Job) -> list[Need]:
    """Return what each pod, each accelerator and the volume need."""
    needs = [_host_memory(job), _shared_memory(job)]
    return [*needs, *([] if job.on_cpu else [_device_memory(job)]), _volume(job)]


def accumulation_note(job: Job) -> str | None:
    """Return that the batches of a step, which the Trainer fetches together, fill much of a device; None if not."""
    num = _num_accumulated(job.spec)
    if job.on_cpu or num == 1 or num * job.largest.num_bytes < MUCH_ON_A_DEVICE_BYTES:
        return None
    return (
        f"spec.training.arguments.gradient_accumulation_steps: all {num} batches of a step lie on each accelerator at "
        f"once, {num} x {gigabytes(job.largest.num_bytes)} of inputs; lower it, or the size of images"
    )


def _num_accumulated(spec: FinetuneJobSpec) -> int:
    return int(spec.training.arguments.get("gradient_accumulation_steps", 1))


def processes(spec: FinetuneJobSpec) -> int:
    """Return the training processes of a pod."""
    return spec.resources.processes_per_node


def fewest_processes(spec: FinetuneJobSpec) -> int:
    """Return the training processes of the smallest gang that the job may have: what they share is most for each."""
    return processes(spec) * spec.resources.gang_sizes[-1]


def loader_workers(spec: FinetuneJobSpec, *, on_cpu: bool) -> int:
    """Return the loader workers of each process of a pod."""
    stated = spec.training.arguments.get("dataloader_num_workers")
    if isinstance(stated, int):
        return stated
    if on_cpu:
        return 0
    threads = int(parse_quantity(spec.resources.requests.cpu)) // processes(spec)
    return min(MAX_LOADER_WORKERS, max(1, threads))


def evaluation_workers(job: Job) -> int:
    """Return the loader workers of each process that evaluations have besides, with a batch each but for the first."""
    spec, workers = job.spec, min(evaluation.MAX_WORKERS, loader_workers(job.spec, on_cpu=job.on_cpu))
    if not evaluation_sets(spec):
        return 0
    batches = math.ceil(job.evaluated / (spec.evaluation.batch_size * fewest_processes(spec)))
    return min(workers, batches - 1) if job.evaluated else workers


def evaluation_bytes(spec: FinetuneJobSpec, model: ModelFigures, evaluated: int) -> float:
    """Return what one process holds of so many texts and images while it searches among them; scores are little."""
    if spec.model.kind == "Reranker":
        return 0.0
    given = {"width": model.width, "world_size": fewest_processes(spec)}
    return evaluation.embedding_bytes(evaluated, **given) + evaluation.search_bytes(evaluated, **given)


def weight_bytes(spec: FinetuneJobSpec, model: ModelFigures) -> float:
    """Return what the weights of one process take."""
    return model.parameters * BYTES[spec.model.dtype] + (model.trained * BYTES["float32"] if spec.model.lora else 0)


def gradient_bytes(spec: FinetuneJobSpec, model: ModelFigures) -> float:
    """Return what the gradients of one process take while a step lasts, at least."""
    return model.trained * BYTES["float32" if spec.model.lora else spec.model.dtype]


def trained_bytes(spec: FinetuneJobSpec, model: ModelFigures) -> float:
    """Return what all weights take that the optimizer changes."""
    return model.trained * BYTES[trained_dtype(spec)]


def optimizer_bytes(spec: FinetuneJobSpec, model: ModelFigures) -> float:
    """Return what the optimizer keeps of all weights that are trained."""
    name = str(spec.training.arguments.get("optim", "adamw"))
    states = next((number for start, number in _STATES.items() if name.startswith(start)), _ADAM_STATES)
    if "8bit" in name or "4bit" in name:
        return states * model.trained
    return states * trained_bytes(spec, model)


def checkpoint_bytes(spec: FinetuneJobSpec, model: ModelFigures) -> float:
    """Return what one checkpoint takes: what changes, and the optimizer's memory of it."""
    return trained_bytes(spec, model) + optimizer_bytes(spec, model)


def chosen_sharding(
    spec: FinetuneJobSpec, model: ModelFigures, *, on_cpu: bool, device_bytes: float | None
) -> Sharding:
    """Return what spec.training.sharding says, or what Auto stands for on accelerators of so much memory.

    That is Full where weights, gradients and states do not fit otherwise.
    """
    usual = sharding_of(spec, on_cpu=on_cpu)
    if spec.training.sharding != "Auto" or usual != "Optimizer" or device_bytes is None or refuses_full_shares(spec):
        return usual
    optimizer, full = (_held_bytes(spec, model, sharding=one) for one in ("Optimizer", "Full"))
    return "Full" if full <= device_bytes < optimizer else usual


def sharding_note(job: Job) -> str | None:
    """Return on which accelerators Auto stands for Full; None if on none, or if it is known what they have."""
    optimizer, full = (_held_bytes(job.spec, job.model, sharding=one) for one in ("Optimizer", "Full"))
    is_asked = job.spec.training.sharding == "Auto" and job.device_bytes is None
    if not is_asked or chosen_sharding(job.spec, job.model, on_cpu=job.on_cpu, device_bytes=full) != "Full":
        return None
    return (
        f"spec.training.sharding: Auto is Full on accelerators of less than {gigabytes(optimizer)}, where weights, "
        f"gradients and states of each process take {gigabytes(full)}"
    )


def _held_bytes(spec: FinetuneJobSpec, model: ModelFigures, *, sharding: Sharding) -> float:
    """Return what one process holds beside activations; the model is loaded whole."""
    lines = [*weight_lines(spec, model, sharding=sharding), *state_lines(spec, model, sharding=sharding)]
    return DEVICE_BYTES + max(weight_bytes(spec, model), sum(line.num_bytes for line in lines))


def weight_lines(spec: FinetuneJobSpec, model: ModelFigures, *, sharding: Sharding) -> list[Line]:
    """Return the weights that one process computes with."""
    whole = weight_bytes(spec, model)
    if sharding != "Full":
        return [Line(f"{gigabytes(whole)} of weights", whole)]
    size = BYTES[spec.model.dtype]
    rest, passed = whole - sum(model.layers) * size, _LAYERS_AT_ONCE * max(model.layers, default=0) * size
    return [
        Line(f"{gigabytes(rest)} of weights outside of layers", rest),
        Line(f"{gigabytes(passed)} of layers that a pass is in", passed),
    ]


def state_lines(spec: FinetuneJobSpec, model: ModelFigures, *, sharding: Sharding) -> list[Line]:
    """Return what one process keeps to train with besides the weights it computes with."""
    gradients, optimizer = gradient_bytes(spec, model), optimizer_bytes(spec, model)
    if sharding == "None":
        return [
            Line(f"{gigabytes(num_bytes)} of {what}", num_bytes)
            for what, num_bytes in {"gradients": gradients, "the optimizer": optimizer}.items()
        ]
    ranks = fewest_processes(spec)
    at_once = model.trained
    if sharding == "Full":
        at_once += max(model.layers, default=0) - sum(model.layers)
        gradients *= at_once / max(1, model.trained)
    summed, shares = at_once * BYTES["float32"] - gradients, 2 * trained_bytes(spec, model) / ranks
    return [
        Line(f"{gigabytes(gradients)} of gradients", gradients),
        Line(f"{gigabytes(summed)} to sum them in float32", summed, certain=False),
        Line(f"{gigabytes(shares)} of shares of weights and gradients", shares),
        Line(f"{gigabytes(optimizer / ranks)} of a share of the optimizer", optimizer / ranks),
    ]


def _host_memory(job: Job) -> Need:
    spec, num = job.spec, processes(job.spec)
    weights, workers = weight_bytes(spec, job.model), num * loader_workers(spec, on_cpu=job.on_cpu)
    evaluating = num * evaluation_workers(job)
    libraries = PROCESS_BYTES if job.on_cpu else CUDA_PROCESS_BYTES
    states = state_lines(spec, job.model, sharding=sharding_of(spec, on_cpu=True)) if job.on_cpu else []
    loaded = num_loaded(job) * job.largest.num_bytes + _evaluated_at_once(job).num_bytes
    copied = 0.0 if job.on_cpu else checkpoint_bytes(spec, job.model) / spec.resources.gang_sizes[-1]
    held = evaluation_bytes(spec, job.model, job.evaluated) if job.on_cpu else 0.0
    lines = [
        _times(num, weights, "weights") if job.on_cpu else _times(1, weights, "weights while a process loads them"),
        _times(num, sum(one.num_bytes for one in states if one.certain), "gradients and optimizer"),
        _times(num, held, "embeddings while evaluating", certain=False),
        _times(num, libraries, "libraries", certain=False),
        Line(f"{gigabytes(weights)} to save them", weights, certain=False),
        Line(f"{gigabytes(copied)} of the checkpoint that is being written", copied, certain=False),
        _times(workers, WORKER_BYTES, "loader workers", certain=False),
        _times(evaluating, evaluation.WORKER_BYTES, "loader workers of evaluations", certain=False),
        Line(f"{gigabytes(loaded)} of batches in shared memory", loaded, certain=False),
    ]
    return _need("host memory", "each pod", lines, "spec.resources.requests.memory", spec.resources.requests.memory)


def _need(resource: str, whose: str, lines: Sequence[Line], field: str, stated: str) -> Need:
    given = tuple(line for line in lines if line.num_bytes)
    return Need(resource, whose, given, field=field, stated=stated, have_bytes=float(parse_quantity(stated)))


def _times(num: int, num_bytes: float, what: str, *, certain: bool = True) -> Line:
    return Line(f"{num} x {gigabytes(num_bytes)} of {what}", num * num_bytes, certain=certain)


def num_loaded(job: Job) -> int:
    """Return the batches that a pod's loaders hold: of each process those that wait, and the one in use."""
    waiting = _num_waiting(job)
    return waiting + processes(job.spec) if waiting else 0


def _num_waiting(job: Job) -> int:
    """Return the batches that are prepared before the first step has begun, as far as there are so many."""
    prefetched = int(job.spec.training.arguments.get("dataloader_prefetch_factor") or _PREFETCHED)
    waiting = loader_workers(job.spec, on_cpu=job.on_cpu) * prefetched
    return processes(job.spec) * (waiting if job.batches_per_epoch is None else min(waiting, job.batches_per_epoch))


def _shared_memory(job: Job) -> Need:
    largest = job.largest
    usual, most = _num_waiting(job) * largest.usual_bytes, num_loaded(job) * largest.num_bytes
    rows, most_each, usual_each = (
        largest.rows,
        gigabytes(largest.num_bytes / largest.rows),
        gigabytes(largest.usual_bytes / largest.rows),
    )
    what = f"{num_loaded(job)} batches that loaders hold x {rows} rows x {most_each} at most"
    lines = [
        Line(f"{_num_waiting(job)} batches that wait x {rows} rows x {usual_each} in the mean", usual),
        Line(f"what is more in {what}" if usual else what, most - usual, certain=False),
        _evaluated_at_once(job),
    ]
    return _need("shared memory", "each pod", lines, "spec.resources.sharedMemory", job.spec.resources.shared_memory)


def _evaluated_at_once(job: Job) -> Line:
    """Return the batches that loaders hold for evaluations: of each worker one, and the one in use."""
    workers, rows = evaluation_workers(job), job.spec.evaluation.batch_size
    batches = processes(job.spec) * (workers + 1) if workers else 0
    each = max(one.num_bytes for one in job.largest.columns)
    what = f"{batches} batches of evaluations x {rows} rows x {gigabytes(each)} at most"
    return Line(what, batches * rows * each, certain=False)


def _device_memory(job: Job) -> Need:
    spec, model = job.spec, job.model
    sharding = chosen_sharding(spec, model, on_cpu=False, device_bytes=job.device_bytes)
    cached = [_is_cached(spec, index) for index in range(len(job.batches))]
    graphs = max(graph_bytes(spec, model, one, is_cached=by) for one, by in zip(job.batches, cached, strict=True))
    of = "one input at a time; mini-batches take what is left" if all(cached) else "the largest batch"
    accumulated, held = _num_accumulated(spec), evaluation_bytes(spec, model, job.evaluated)
    given = job.largest.num_bytes
    lines = [
        *weight_lines(spec, model, sharding=sharding),
        *state_lines(spec, model, sharding=sharding),
        Line(f"{gigabytes(graphs)} of activations of {of}", graphs, certain=False),
        _times(accumulated, given, "inputs, all that are accumulated", certain=False),
        Line(f"{gigabytes(held)} of embeddings while evaluating", held, certain=False),
        Line(f"{gigabytes(DEVICE_BYTES)} of CUDA and libraries", DEVICE_BYTES, certain=False),
    ]
    given_lines = tuple(line for line in lines if line.num_bytes)
    return Need("device memory", "each process", given_lines, have_bytes=job.device_bytes)


def _is_cached(spec: FinetuneJobSpec, index: int) -> bool:
    name = objective_of(spec, spec.data.train[index]).name
    return LOSS_ALIASES.get(name, name).startswith("Cached")


def graph_bytes(spec: FinetuneJobSpec, model: ModelFigures, batch: Batch, *, is_cached: bool) -> float:
    """Return what is kept for one backward pass: of the whole batch, or of one input of a gradient-cached loss.

    Such a loss makes its mini-batches smaller until they fit. Under autocast the weights are copied, in 16 bits.
    Activation checkpointing keeps one number for each token, layer and unit of width, and makes one layer again at a
    time.
    """
    arguments = spec.training.arguments
    checkpointed = any(arguments.get(name) for name in ("gradient_checkpointing", "activation_checkpointing"))
    copies = model.parameters * BYTES["bfloat16"] if spec.model.dtype == "float32" else 0.0
    tokens = _tokens(batch, is_cached=is_cached)
    total = 0.0
    for stack in model.stacks:
        layer = KEPT[stack.name][spec.model.dtype]
        kept = stack.layers * BYTES[spec.model.dtype] + layer if checkpointed else stack.layers * layer
        total += tokens.get(stack.name, 0) * stack.width * kept
    return total + copies


def _tokens(batch: Batch, *, is_cached: bool) -> dict[str, int]:
    """Return the tokens by stack that are embedded at once: all columns of the batch, or at least the longest input."""
    names = {name for column in batch.columns for name in column.tokens}
    found = {name: [column.tokens.get(name, 0) for column in batch.columns] for name in names}
    return {name: max(tokens) if is_cached else batch.rows * sum(tokens) for name, tokens in found.items()}


def _num_checkpoints(job: Job) -> int:
    """Return how many lie on the volume at once: no more than are written, of which the last is after the last step.

    What is written by the clock is counted as one in `_STEPS_BETWEEN` steps.
    """
    spec, kept = job.spec, job.spec.checkpoint.keep + 1
    if job.batches_per_epoch is None and spec.training.max_steps is None:
        return kept
    steps = plan(spec, batch_size=1, batches_per_epoch=job.batches_per_epoch or 1).total_steps
    return min(kept, math.ceil(steps / (spec.checkpoint.every_steps or _STEPS_BETWEEN)))


def _volume(job: Job) -> Need:
    spec, model = job.spec, job.model
    weights = model.parameters * BYTES[spec.model.dtype]
    checkpoint, kept = checkpoint_bytes(spec, model), _num_checkpoints(job)
    inputs = model.stored_bytes if job.data_bytes is None else job.data_bytes
    lines = [
        Line(f"{gigabytes(inputs)} of {'models' if job.data_bytes is None else 'inputs'}", inputs),
        _times(2, weights, "best model and result") if evaluation_sets(spec) else _times(1, weights, "result"),
        _times(kept, checkpoint, "checkpoints, one being written"),
    ]
    if spec.storage.existing_claim:
        return Need("storage", "the job", tuple(lines))
    return _need("storage", "the job", lines, "spec.storage.size", spec.storage.size)
