"""Counts rows that are left out, and says when there are too many."""

from collections import Counter
from dataclasses import dataclass, field, replace

from finetune_api.reasons import Reason
from finetune_trainer.prepare.images.store import ONE_COLOUR
from finetune_trainer.prepare.rows.rows import BadRow, Row, name_row
from finetune_trainer.workspace.problems import InputProblem

_TOLD = 5
_NEARLY_ALL = 0.9


@dataclass
class Tally:
    """Rows of one dataset as they are read."""

    where: str
    """The dataset and its field, as messages start: `spec.data.train[0]: dataset pages`."""
    used: int = 0
    skipped: int = 0
    first: list[str] = field(default_factory=list)
    nothing: str = ""
    """Why none is left, where the counts do not say it."""
    num_images: int = 0
    remarks: Counter[str] = field(default_factory=Counter)
    """Images by what is odd about them."""
    first_images: dict[str, list[str]] = field(default_factory=dict)

    def use(self, row: Row) -> None:
        """Count a row that is taken."""
        self.used += 1
        self.num_images += row.num_images
        for remark, where in row.remarks:
            self.remarks[remark] += 1
            if self.remarks[remark] <= _TOLD:
                self.first_images.setdefault(remark, []).append(f"{name_row(row)}: {where}")

    def skip(self, row: BadRow) -> None:
        """Count a row that is left out."""
        self.skipped += 1
        if len(self.first) < _TOLD:
            fault, _, advice = row.because.partition("; ")
            is_known = bool(advice) and any(told.endswith(advice) for told in self.first)
            self.first.append(str(replace(row, because=fault) if is_known else row))

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
            nothing = self.nothing or f"no row is left of {total}"
            return InputProblem(Reason.EMPTY_DATASET, f"{self.where}: {nothing}")
        if self.remarks[ONE_COLOUR] >= _NEARLY_ALL * max(1, self.num_images):
            message = f"{self.where}: {self._remark(ONE_COLOUR)}, which teaches nothing; mend or replace these images"
            return InputProblem(Reason.BAD_SAMPLES, message)
        return None

    def warnings(self) -> list[str]:
        """Return a sentence if rows were left out, and one for each thing that is odd about images."""
        left_out = [f"{self.where}: {self._sentence()}; they are left out"] if self.skipped else []
        return left_out + [f"{self.where}: {self._remark(remark)}; look at them" for remark in self.remarks]

    def _remark(self, remark: str) -> str:
        count = self.remarks[remark]
        more = ", ..." if count > _TOLD else ""
        verb = "image of {} is" if count == 1 else "images of {} are"
        return f"{count} {verb.format(self.num_images)} {remark} ({'; '.join(self.first_images[remark])}{more})"

    def _sentence(self) -> str:
        total = self.used + self.skipped
        more = ", ..." if self.skipped > len(self.first) else ""
        verb = "row of {} cannot" if self.skipped == 1 else "rows of {} cannot"
        return f"{self.skipped} {verb.format(total)} be used ({'; '.join(self.first)}{more})"
