"""Which runs of a spec are on the Hub already, and what stands there: found by preflight and handed to prepare.

Preflight does not know the whole id, which the sources decide; prepare, which finds them, has no token for the target.
"""

import contextlib
from pathlib import Path

from pydantic import ConfigDict, Field

from finetune_api.base import Contract
from finetune_api.status import DatasetStatus, EvaluationScore, MetricsStatus, ModelStatus, PublishedStatus
from finetune_trainer.hub.standing import Standing
from finetune_trainer.workspace.manifest import FileHash
from finetune_trainer.workspace.whole_file import write_whole


class RecordedFile(FileHash):
    """A file as the Hub lists it: large ones by their hash, small ones by the name that git gives them."""

    blob_id: str


class RunRecord(Contract):
    """A run that was published."""

    model_config = ConfigDict(extra="ignore")

    run: str
    """The run's id."""
    sources: dict[str, str]
    """Commit, or content hash of a claim's folder, by the field that names the source."""
    model: ModelStatus
    datasets: list[DatasetStatus]
    evaluations: list[EvaluationScore]
    metrics: MetricsStatus
    versions: dict[str, str]
    """Version per package that trained it."""
    files: list[RecordedFile] = Field(min_length=1)
    """The model's, but for the card and this record."""


class PublishedRun(Contract):
    """A run on the Hub, read back."""

    published: PublishedStatus
    record: RunRecord


class PublishedRuns(Contract):
    """The runs of one spec that tags of the target repository name."""

    runs: dict[str, PublishedRun] = Field(default_factory=dict)
    doubts: dict[str, str] = Field(default_factory=dict)
    """Why a tag is not believed, by the run that it names."""
    standing: Standing | None = None
    """What publish.ifExists spares."""

    @classmethod
    def read(cls, path: Path) -> "PublishedRuns":
        """Return what preflight has handed over; nothing if it did not look."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return cls.model_validate_json(path.read_bytes())
        return cls()

    def write(self, path: Path) -> None:
        """Hand it over."""
        write_whole(path, self.model_dump_json(by_alias=True))
