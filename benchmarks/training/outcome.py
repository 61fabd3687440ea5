"""What a run leaves in its folder for the benchmark to read."""

import os
import resource
from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.training.meter import Step
from benchmarks.training.stopwatch import Stopwatch

#: Where a rank leaves its record.
ENV_FOLDER = "BENCHMARK_FOLDER"
KIB = 1024


class RankRecord(BaseModel):
    """What one training process knows of itself at its end."""

    model_config = ConfigDict(frozen=True)

    rank: int
    seconds: dict[str, float]
    """Per phase, in this process."""
    peak_bytes: int
    """Highest resident memory."""
    device_peak_bytes: int = 0
    """Highest memory of tensors on its accelerator."""
    steps: list[Step] = []

    @staticmethod
    def world_size() -> int:
        """Return the number of training processes, as torchrun tells it; 1 without torchrun."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    @classmethod
    def of_this_process(cls, watch: Stopwatch, steps: Sequence[Step] = ()) -> "RankRecord":
        """Return the record of the process that calls."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
        device_peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        rank, seconds = int(os.environ.get("RANK", "0")), dict(watch.seconds)
        return cls(rank=rank, seconds=seconds, peak_bytes=peak, device_peak_bytes=device_peak, steps=list(steps))

    def write(self, folder: Path) -> None:
        """Write beside those of the other ranks."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"rank-{self.rank}.json").write_text(self.model_dump_json())

    @classmethod
    def read_all(cls, folder: Path) -> list["RankRecord"]:
        """Return the records of all ranks."""
        return [cls.model_validate_json(path.read_bytes()) for path in sorted(folder.glob("rank-*.json"))]


class Outcome(BaseModel):
    """NDCG@10 on the held-out pages and the loss of each step."""

    model_config = ConfigDict(frozen=True)

    baseline: float
    final: float
    """Of the model after the last step."""
    dimensions: dict[int, float] = Field(default_factory=dict)
    """Of that model's embeddings, cut."""
    losses: dict[int, float] = Field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write to `folder`."""
        (folder / "outcome.json").write_text(self.model_dump_json())

    @classmethod
    def read(cls, folder: Path) -> "Outcome":
        """Return what was written to `folder`."""
        return cls.model_validate_json((folder / "outcome.json").read_bytes())
