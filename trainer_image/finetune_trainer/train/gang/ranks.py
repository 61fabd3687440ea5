"""The gang as one process sees it: who it is, what it computes on, and how all of them decide together.

Small decisions (stop? was the loss a number?) travel over gloo beside the gradients, so that agreeing on them never
waits for an accelerator.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from finetune_api.contract import RunConfig
from finetune_api.reasons import Reason
from finetune_trainer.workspace.failures import RunFailure

WRITER = 0


@dataclass(frozen=True)
class Ranks:
    """This process among `world_size` of them. A world of one needs no process group."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    control: distributed.ProcessGroup | None = None
    """Gloo group of all ranks; None in a world of one."""
    background: distributed.ProcessGroup | None = None
    """The same for a thread beside training: the collectives of one group must come in one order."""
    before: list[Callable[[], None]] = field(default_factory=list, compare=False)
    """Called before anything is decided together: what others may need of this rank until they are there, too."""

    @property
    def is_writer(self) -> bool:
        """Whether this is the one process that writes to the workspace."""
        return self.rank == WRITER

    def meet(self) -> None:
        """Return when every rank is here; each must call this at the same point, as all that follows."""
        for one in self.before:
            one()

    def device_bytes(self) -> int | None:
        """Return the memory of the smallest accelerator of all ranks, None on CPUs."""
        if self.device.type == "cpu":
            return None
        return self.lowest(torch.cuda.get_device_properties(self.device).total_memory)

    def lowest(self, value: int) -> int:
        """Return the lowest value of all ranks, without meeting them first."""
        if self.control is None:
            return value
        lowest = torch.tensor(value)
        distributed.all_reduce(lowest, op=distributed.ReduceOp.MIN, group=self.control)
        return int(lowest)

    def any_has(self, here: Sequence[bool]) -> list[bool]:
        """Return what is true on a rank at least, of as many things on each."""
        self.meet()
        anywhere = torch.tensor(here, dtype=torch.uint8)
        if self.control is not None:
            distributed.all_reduce(anywhere, op=distributed.ReduceOp.MAX, group=self.control)
        return [bool(one) for one in anywhere.tolist()]

    def sum(self, *values: float) -> tuple[float, ...]:
        """Return each value summed over the ranks."""
        self.meet()
        if self.control is None:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total, group=self.control)
        return tuple(total.tolist())

    def add(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of all ranks' tensors of one shape, where this rank's is; it travels through host memory."""
        self.meet()
        if self.control is None:
            return values
        total = values.cpu()
        distributed.all_reduce(total, group=self.control)
        return total.to(values.device)

    def gather_at(self, rank: int, values: torch.Tensor) -> list[torch.Tensor] | None:
        """Return the CPU tensors of all ranks, of one shape, on the rank that is named; None on others."""
        self.meet()
        if self.control is None:
            return [values]
        found = [torch.empty_like(values) for _ in range(self.world_size)] if rank == self.rank else None
        distributed.gather(values, found, dst=rank, group=self.control)
        return found

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - anything that pickles
        """Return the small picklable values of all ranks, by rank."""
        self.meet()
        if self.control is None:
            return [value]
        values: list[Any] = [None] * self.world_size
        distributed.all_gather_object(values, value, group=self.control)
        return values

    def share(self, value: Any) -> Any:  # noqa: ANN401 - anything that pickles
        """Return the writer's value on every rank."""
        self.meet()
        if self.control is None:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=WRITER, group=self.control)
        return box[0]


def join(config: RunConfig) -> Ranks:
    """Meet the other ranks as torchrun's environment names them; waits until all are there.

    Raises:
        RunFailure: accelerators were asked for and are not visible. Training on CPU instead would take days unnoticed.

    """
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = choose_device(config, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if world_size == 1:
        return Ranks(device=device)
    timeout = timedelta(seconds=config.spec.rank_patience_seconds)
    if device.type == "cuda":
        distributed.init_process_group("nccl", timeout=timeout, device_id=device)
    else:
        distributed.init_process_group("gloo", timeout=timeout)
    control, background = (distributed.new_group(backend="gloo", timeout=timeout) for _ in range(2))
    assert isinstance(control, distributed.ProcessGroup), "every rank is a member"
    assert isinstance(background, distributed.ProcessGroup), "every rank is a member"
    return Ranks(rank, world_size, device, control, background)


def choose_device(config: RunConfig, *, local_rank: int) -> torch.device:
    """Return the accelerator of this process, or the CPU where the spec or the cluster says so."""
    if config.on_cpu:
        return torch.device("cpu")
    wanted = config.spec.resources.accelerator.per_node
    visible = torch.cuda.device_count()
    if visible < wanted:
        raise RunFailure(
            Reason.NODE_FAULT,
            f"spec.resources.accelerator.perNode: {wanted} were asked for, but {visible} are visible in this pod; "
            "check the device plugin, the driver and the image's CUDA version on this node, or set perNode to 0",
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def leave(ranks: Ranks) -> None:
    """End the process group after a success; a failing process just exits, for its peers may be gone."""
    if ranks.control is not None:
        distributed.barrier(group=ranks.control)
        distributed.destroy_process_group()
