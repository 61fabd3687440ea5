"""`finetune_client`: jobs of a cluster in Python and in notebooks."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_client import Client, RefusalError
from finetune_client.client import Job
from tests.api.conftest import MINIMAL
from tests.cli.api_stub import JOBS, Answers, serving, write_kubeconfig
from tests.cli.stored_jobs import CURVE, FAILED, QUEUED, RERUN, SUCCEEDED, TRAINING
from tests.stack.jobs import change
from tests.stack.kubectl import Manifest

LOG = "/api/v1/namespaces/search/pods/pages-train-2-0-x/log"
POD = {
    "metadata": {
        "name": "pages-train-2-0-x",
        "labels": {
            "finetune.dev/role": "train",
            "finetune.dev/attempt": "2",
            "batch.kubernetes.io/job-completion-index": "0",
        },
    },
    "status": {},
}


def events(*states: Manifest) -> tuple[int, bytes]:
    return 200, "".join(json.dumps({"type": "MODIFIED", "object": one}) + "\n" for one in states).encode()


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """What the API server answers; it has a job that trains."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    found: Answers = {JOBS + "/pages": (200, TRAINING), "/api/v1/namespaces/search/pods": (200, {"items": [POD]})}
    with serving(found) as address:
        write_kubeconfig(tmp_path / "config", address)
        yield found


def pages() -> Job:
    return Client().job("pages")


def test_a_job_tells_its_status_why_and_its_curve(answers: Answers) -> None:
    job = pages()

    assert job.status.attempt == 2
    assert job.explain().startswith("search/pages trains (Training): attempt 2 trains on 2 nodes.")
    frame = job.curve()
    assert list(frame.columns) == ["step", "loss", "score"]
    assert frame["step"].tolist() == [point["step"] for point in CURVE]
    assert frame["score"].dropna().tolist() == [0.85, 0.92, 0.9312]


def test_jobs_are_listed_by_their_names(answers: Answers) -> None:
    answers[JOBS] = 200, {"items": [TRAINING]}

    assert repr(Client().jobs()) == "[<FinetuneJob pages>]"


def test_a_job_that_waits_has_an_empty_curve(answers: Answers) -> None:
    answers[JOBS + "/pages"] = (200, QUEUED)

    assert list(pages().curve().columns) == ["step", "loss", "score"]


def test_waiting_ends_with_the_job(answers: Answers) -> None:
    answers[JOBS] = events(QUEUED, TRAINING, SUCCEEDED)

    assert pages().wait().published is not None


def test_waiting_for_a_job_that_fails_fails_with_the_reason(answers: Answers) -> None:
    answers[JOBS] = events(TRAINING, FAILED)

    with pytest.raises(RefusalError, match=re.escape("search/pages has failed (ColumnNotFound): ")) as refused:
        pages().wait()

    assert refused.value.code == 11


def test_logs_are_those_of_rank_0(answers: Answers) -> None:
    answers[LOG] = (200, b"one\ntwo\n")

    assert list(pages().logs()) == ["one", "two"]


def test_logs_of_a_job_that_runs_once_more_are_those_of_prepare_until_it_is_prepared(answers: Answers) -> None:
    prepare = {"metadata": {"name": "pages-prepare-x", "labels": {"finetune.dev/role": "prepare"}}, "status": {}}
    answers[JOBS + "/pages"] = (200, RERUN)
    answers["/api/v1/namespaces/search/pods"] = (200, {"items": [prepare]})
    answers["/api/v1/namespaces/search/pods/pages-prepare-x/log"] = (200, b"prepares\n")

    assert list(pages().logs()) == ["prepares"]


def test_a_notebook_shows_the_report_in_a_frame(answers: Answers) -> None:
    shown = pages()._repr_html_()

    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "search/pages" in shown


def test_a_job_that_is_not_there_is_told(answers: Answers) -> None:
    with pytest.raises(RefusalError, match="cannot read search/other"):
        Client().job("other")


def test_nothing_is_created_of_a_manifest_in_which_something_is_wrong(answers: Answers, tmp_path: Path) -> None:
    wrong = change(MINIMAL, training__epochs=3)
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps(wrong))

    for given in (wrong, file, str(file)):
        with pytest.raises(RefusalError, match="did you mean numTrainEpochs"):
            Client().submit(given)
