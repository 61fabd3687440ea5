"""The best model so far, and the result that is made of it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from finetune_api.base import Contract
from finetune_trainer.checkpoints.fence import Fence
from finetune_trainer.checkpoints.folder import mend, whole_folder
from finetune_trainer.evaluation.measurement import Measurement, Scores

RECORD = "best.json"


class BestRecord(Contract):
    """What the best model reaches; lies beside its files, so that both are replaced as one."""

    spec_hash: str
    step: int
    measurements: list[Measurement]
    """On every set, the judging one first."""

    @property
    def judged(self) -> Scores:
        """Return the scores on the set that decides which model is best."""
        return self.measurements[0].scores


@dataclass(frozen=True)
class BestModel:
    """The folder of the best model. Used by the writer alone."""

    folder: Path
    fence: Fence
    spec_hash: str

    def read(self) -> BestRecord | None:
        """Return the record of the best model so far, of any attempt under this spec."""
        mend(self.folder)
        try:
            record = BestRecord.model_validate_json((self.folder / RECORD).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return record if record.spec_hash == self.spec_hash else None

    def write(self, record: BestRecord, *, save: Callable[[Path], None]) -> None:
        """Replace the best model by what `save` writes into a given folder."""
        with whole_folder(self.folder) as aside:
            save(aside)
            (aside / RECORD).write_text(record.model_dump_json(by_alias=True), encoding="utf-8")
            self.fence.check()

    def copy_into(self, folder: Path) -> None:
        """Put the best model's files into an empty folder; they are shared where the volume can do that."""
        ignored = shutil.ignore_patterns(RECORD)
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=ignored, copy_function=link_or_copy)


def link_or_copy(source: str, target: str) -> str:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
