"""How each process of a pod ended, left in a folder for the supervisor. torchrun itself passes on one exit code."""

import os
from dataclasses import dataclass
from pathlib import Path

from finetune_api.base import Contract
from finetune_api.contract import RunResult

ENV_RECORDS = "FINETUNE_RECORDS"


class RankRecord(Contract):
    """The last word of one rank."""

    rank: int
    """Rank in the gang; -1 for torchrun, when it could not start the ranks."""
    time: float
    """Seconds since the epoch."""
    result: RunResult


class ExitStatuses(Contract):
    """Ranks of this pod that torchrun saw fail first, with their exit codes; negative is a signal."""

    by_rank: dict[int, int]


@dataclass(frozen=True)
class Records:
    """The folder. Lives as long as the supervisor."""

    folder: Path

    @classmethod
    def of_environment(cls) -> "Records | None":
        """Return the folder that the supervisor named, or None outside a supervisor."""
        folder = os.environ.get(ENV_RECORDS)
        return cls(Path(folder)) if folder else None

    @property
    def stop_file(self) -> Path:
        """Return the file whose presence asks every rank of this pod to save and end."""
        return self.folder / "stop"

    @property
    def met_file(self) -> Path:
        """Return the file whose presence says that the ranks of this pod have met those of all others."""
        return self.folder / "met"

    @property
    def _exits_file(self) -> Path:
        return self.folder / "exits.json"

    def write(self, record: RankRecord) -> None:
        """Write atomically: the process may be killed in the middle."""
        self._write(self.folder / f"rank-{record.rank}.json", record)

    def write_exits(self, exits: ExitStatuses) -> None:
        """Write what torchrun saw."""
        self._write(self._exits_file, exits)

    def write_pid(self, rank: int, pid: int) -> None:
        """Write which process is the rank, once it may be asked for its stacks."""
        temporary = self.folder / f"rank-{rank}.pid.tmp"
        temporary.write_text(str(pid), encoding="ascii")
        temporary.rename(temporary.with_suffix(""))

    def read_pids(self) -> list[int]:
        """Return the processes that may be asked for their stacks: those that have not left a record."""
        ended = {f"rank-{record.rank}.pid" for record in self.read()}
        files = [file for file in self.folder.glob("rank-*.pid") if file.name not in ended]
        return [int(file.read_text(encoding="ascii")) for file in files]

    def read(self) -> list[RankRecord]:
        """Return the records there are, by rank."""
        files = self.folder.glob("rank-*.json")
        return sorted((RankRecord.model_validate_json(file.read_bytes()) for file in files), key=lambda one: one.rank)

    def read_exits(self) -> dict[int, int]:
        """Return exit codes by rank; empty if torchrun saw no failure."""
        if not self._exits_file.exists():
            return {}
        return ExitStatuses.model_validate_json(self._exits_file.read_bytes()).by_rank

    @staticmethod
    def _write(path: Path, value: Contract) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(value.model_dump_json(by_alias=True), encoding="utf-8")
        temporary.rename(path)
