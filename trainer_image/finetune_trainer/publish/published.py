"""Finds the runs of a spec that are on the Hub already, and says where a commit is to be seen."""

from finetune_api.status import PublishedStatus
from finetune_trainer.hub.published import PublishedRun, PublishedRuns
from finetune_trainer.publish.branch import Target, tag_name
from finetune_trainer.publish.record import read_record

#: Each costs a few requests; a spec has one for each state of its data.
MOST_RUNS = 32


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
