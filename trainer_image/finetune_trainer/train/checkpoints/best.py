"""The best model so far, and the result that is made of it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from finetune_api.base import Contract
from finetune_trainer.train.evaluation.measurement import Measurement, Scores
from finetune_trainer.workspace.fence import Fence
from finetune_trainer.workspace.folder import mend
from finetune_trainer.workspace.manifest import FileHash
from finetune_trainer.workspace.verify import find_damage, hash_files

RECORD = "best.json"


class BestRecord(Contract):
    """What the best model reaches; lies beside its files, so that both are replaced as one."""

    run: str
    step: int
    measurements: list[Measurement]
    """On every set, the judging one first."""
    files: list[FileHash] = Field(default_factory=list)
    """The model's, relative to its folder."""

    @property
    def judged(self) -> Scores:
        """Return the scores on the set that decides which model is best."""
        return self.measurements[0].scores


@dataclass(frozen=True)
class BestModel:
    """The folder of the best model. Used by the writer alone."""

    folder: Path
    fence: Fence
    run: str
    warn: Callable[[str], None] = lambda _: None
    """Takes what the user should know of: a best model that was lost."""

    def read(self) -> BestRecord | None:
        """Return the record of the best model so far, of any attempt of this run, if its files are whole."""
        mend(self.folder)
        try:
            record = BestRecord.model_validate_json((self.folder / RECORD).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        if record.run != self.run:
            return None
        if (damage := find_damage(self.folder, record.files)) is not None:
            score = f"step {record.step}, {record.judged.metric} {record.judged.value:.4f}"
            self.warn(f"the best model so far ({score}) is lost: {damage}; the best one from here on takes its place")
            return None
        return record

    def write(self, record: BestRecord, *, save: Callable[[Path], None]) -> BestRecord:
        """Replace the best model by what `save` writes into a given folder; return the record with its files."""
        with self.fence.whole_folder(self.folder) as aside:
            save(aside)
            record = record.model_copy(update={"files": hash_files(aside)})
            (aside / RECORD).write_text(record.model_dump_json(by_alias=True), encoding="utf-8")
        return record

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
