"""Which runs of a spec are on the Hub already, and what stands there: found by preflight and handed to prepare.

Preflight does not know the whole id, which the sources decide; prepare, which finds them, has no token for the target.
"""

import contextlib
from pathlib import Path

from pydantic import Field

from finetune_api.base import Contract
from finetune_api.status import PublishedStatus
from finetune_trainer.hub.branch import Target, tag_name
from finetune_trainer.hub.record import RunRecord, read_record
from finetune_trainer.hub.standing import Standing
from finetune_trainer.whole_file import write_whole

#: Each costs a few requests; a spec has one for each state of its data.
MOST_RUNS = 32


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


def find_published(target: Target, spec_hash: str) -> PublishedRuns:
    """Return the newest runs of a spec, each believed once its commit was read back and compared with its record."""
    found = PublishedRuns()
    for run in list(target.tagged_runs(spec_hash))[-MOST_RUNS:]:
        tag = tag_name(run)
        answer = read_record(target, run, tag)
        if isinstance(answer, str):
            found.doubts[run] = f"tag {tag} of {target.repository} is not believed, so that it is trained: {answer}"
        else:
            commit, record = answer
            found.runs[run] = PublishedRun(published=published_at(target, commit, tag=tag), record=record)
    return found


def published_at(target: Target, commit: str, *, tag: str | None) -> PublishedStatus:
    """Return what status shows."""
    url = f"{target.api.endpoint}/{target.repository}/commit/{commit}"
    return PublishedStatus(repository=target.repository, commit=commit, tag=tag, url=url)
