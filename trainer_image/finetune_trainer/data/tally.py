"""Counts rows that are left out, and says when there are too many."""

from dataclasses import dataclass, field

from finetune_api.reasons import Reason
from finetune_trainer.data.problems import InputProblem
from finetune_trainer.data.rows import BadRow

_TOLD = 5


@dataclass
class Tally:
    """Rows of one dataset as they are read."""

    where: str
    """The dataset and its field, as messages start: `spec.data.train[0]: dataset pages`."""
    used: int = 0
    skipped: int = 0
    first: list[str] = field(default_factory=list)

    def skip(self, row: BadRow) -> None:
        """Count a row that is left out."""
        self.skipped += 1
        if len(self.first) < _TOLD:
            self.first.append(str(row))

    def check(self, *, max_ratio: float) -> InputProblem | None:
        """Return what is wrong with the counts: too many bad rows, or none left."""
        total = self.used + self.skipped
        if self.skipped > max_ratio * total:
            message = (
                f"{self.where}: {self._sentence()}, above maxBadSampleRatio {max_ratio:g}; "
                "mend these rows or raise data.maxBadSampleRatio"
            )
            return InputProblem(Reason.BAD_SAMPLES, message)
        if self.used == 0:
            return InputProblem(Reason.EMPTY_DATASET, f"{self.where}: no row is left of {total}")
        return None

    def warnings(self) -> list[str]:
        """Return one sentence if rows were left out."""
        return [f"{self.where}: {self._sentence()}; they are left out"] if self.skipped else []

    def _sentence(self) -> str:
        total = self.used + self.skipped
        more = ", ..." if self.skipped > len(self.first) else ""
        verb = "row of {} cannot" if self.skipped == 1 else "rows of {} cannot"
        return f"{self.skipped} {verb.format(total)} be used ({'; '.join(self.first)}{more})"
