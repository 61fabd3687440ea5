"""What a training uses of this machine instead of the nodes that a manifest asks for."""

import subprocess
import sys
from dataclasses import dataclass

from finetune_api.reasons import Reason
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.workspace.failures import RunFailure

#: resources.accelerator.perNode goes no higher.
MOST_PROCESSES = 16
_COUNT = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Devices:
    """Training processes on this machine, and where they compute."""

    processes: int
    on_accelerator: bool
    notes: tuple[str, ...] = ()
    """How this differs from what the manifest asks for."""


def count_accelerators() -> int:
    """Return the accelerators that torch can use here; asked in another process, because loading torch takes memory."""
    asked = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False)  # noqa: S603
    return int(asked.stdout) if asked.returncode == 0 else 0


def choose_devices(spec: FinetuneJobSpec, *, visible: int, wanted: int | None) -> Devices:
    """Return the processes to train with: `wanted`, or as many as the manifest asks for and the machine has.

    Raises:
        RunFailure: more are wanted than there are.

    """
    resources = spec.resources
    per_node = resources.accelerator.per_node
    in_cluster = resources.nodes * max(1, per_node)
    on_accelerator = per_node > 0 and visible > 0
    most = min(visible, MOST_PROCESSES) if on_accelerator else MOST_PROCESSES
    if wanted is not None and not 1 <= wanted <= most:
        what = "this machine's accelerators" if most == visible else "at most"
        message = f"--processes: {wanted} is wrong because {most} can be used ({what}); give a number from 1 to {most}"
        raise RunFailure(Reason.INVALID_ARGUMENT, message)
    processes = wanted or (min(in_cluster, most) if on_accelerator else 1)
    return Devices(processes, on_accelerator, tuple(_notes(spec, processes, in_cluster, visible=visible)))


def _notes(spec: FinetuneJobSpec, processes: int, in_cluster: int, *, visible: int) -> list[str]:
    notes = []
    per_node = spec.resources.accelerator.per_node
    if per_node > 0 and visible == 0:
        notes.append(
            f"spec.resources.accelerator.perNode: {per_node} asked for and none visible on this machine; "
            "it trains on the CPU, which is slow"
        )
    if processes != in_cluster:
        batch = spec.training.per_device_train_batch_size
        notes.append(
            f"spec.resources: {_count(in_cluster)} in a cluster and {processes} here, so that a step takes "
            f"{batch * processes} rows instead of {batch * in_cluster} and scores may differ; "
            "training.perDeviceTrainBatchSize and --processes change that"
        )
    return notes


def _count(processes: int) -> str:
    return f"{processes} process" if processes == 1 else f"{processes} processes"
