"""Which gang may write. One that is cut off with its node may live on, and must not touch its successor's files."""

from dataclasses import dataclass
from pathlib import Path

from finetune_api.reasons import Reason
from finetune_trainer.failures import RunFailure


@dataclass(frozen=True)
class Fence:
    """The number of the gang that may write, in a file of the workspace."""

    path: Path
    attempt: int

    def take(self) -> None:
        """Claim the workspace for this attempt; raises RunFailure if a newer one has it."""
        if self._owner() > self.attempt:
            raise self._taken_over()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(f"{self.attempt}\n", encoding="ascii")
        temporary.rename(self.path)

    def check(self) -> None:
        """Raise RunFailure unless this attempt still has the workspace; call right before anything becomes visible."""
        if self._owner() != self.attempt:
            raise self._taken_over()

    def _owner(self) -> int:
        try:
            return int(self.path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    def _taken_over(self) -> RunFailure:
        return RunFailure(
            Reason.PEER_LOST, f"attempt {self._owner()} writes to the workspace now; attempt {self.attempt} ends"
        )
