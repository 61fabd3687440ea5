"""Whichever request of publish is cut, before or after the Hub has done it: one commit, tagged, and known."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetune_api.reasons import Reason
from finetune_trainer.publish import commit as hub_commit
from finetune_trainer.publish.publish import publish
from finetune_trainer.workspace.failures import RunFailure
from tests.hub import RunningHub
from tests.trainer.conftest import Run
from tests.trainer.publishing import finished_run, make_run_in

TITLES = ["Finetune with FinetuneJob search/pages", "initial commit"]
#: More containers than one fault can cost.
TRIES = 3


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_commit, "PAUSES", (0.0, 0.0))


def a_run(folder: Path, model: Path, hub: RunningHub, *, repository: str) -> Run:
    found = finished_run(make_run_in(folder), model, repository=repository)
    return found.at(hub.endpoint).with_token(write=hub.write_token)


def publish_in_the_end(run: Run) -> tuple[Reason, str | None]:
    """Publish as a Job does, with another container after one that failed; return reason and commit."""
    for _ in range(TRIES):
        try:
            result = publish(run.config, run.settings)
        except RunFailure as failure:
            if failure.reason is not Reason.HUB_UNAVAILABLE:
                raise
        else:
            assert result.published is not None
            return result.reason, result.published.commit
    raise AssertionError("it is never published")


@pytest.mark.parametrize("action", ["cut", "lose-answer"])
def test_a_request_that_is_cut_makes_neither_two_commits_nor_none(
    tmp_path: Path, small_model: Path, hub: RunningHub, action: str
) -> None:
    calm = a_run(tmp_path / "calm", small_model, hub, repository="demo/calm")
    publish(calm.config, calm.settings)
    requests = hub.requests()

    for number, request in enumerate(requests):
        repository = f"demo/cut-{number}"
        run = a_run(tmp_path / str(number), small_model, hub, repository=repository)
        hub.clear()
        hub.fail(action, skip=number)

        reason, commit = publish_in_the_end(run)

        where = f"{request['method']} {request['path']} ({number})"
        there = hub.commits(repository)
        assert reason in (Reason.PUBLISHED, Reason.ALREADY_PUBLISHED), where
        assert [each["title"] for each in there["commits"]] == TITLES, where
        assert (there["branches"]["main"], set(there["tags"].values())) == (commit, {commit}), where
    assert len(requests) > len(TITLES)


def names_in(commit: dict[str, Any]) -> set[str]:
    """Return the names of a commit's files; that of the curves ends with the time."""
    return {name.partition(".tfevents")[0] for name in commit["files"]}


@pytest.mark.parametrize("at", ["/commit/", "/tag/"])
def test_a_job_that_is_deleted_while_it_publishes_leaves_a_whole_commit_or_none(
    tmp_path: Path, small_model: Path, hub: RunningHub, at: str
) -> None:
    calm = a_run(tmp_path / "calm", small_model, hub, repository="demo/calm")
    publish(calm.config, calm.settings)
    num_before = next(number for number, request in enumerate(hub.requests()) if at in request["path"])
    run = a_run(tmp_path / "deleted", small_model, hub, repository="demo/deleted")
    hub.clear()
    hub.fail({"delay": 0.5}, path=at)
    command = [sys.executable, "-m", "finetune_trainer", "publish"]

    with subprocess.Popen(command, env=os.environ | run.environment(), stderr=subprocess.DEVNULL) as pod:
        while len(hub.requests()) < num_before:
            assert pod.poll() is None
            os.sched_yield()
        pod.send_signal(signal.SIGTERM)

    made, there = hub.commits("demo/calm")["commits"], hub.commits("demo/deleted")["commits"]
    assert [each["title"] for each in there] in (TITLES, TITLES[1:])
    assert [names_in(each) for each in there] == [names_in(each) for each in made[-len(there) :]]
