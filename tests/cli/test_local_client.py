"""`finetune_client.local`: a job on this machine, with the words for jobs of a cluster."""

import json
from pathlib import Path

import pytest

from finetune_api.contract import ExitCode
from finetune_api.status import Phase
from finetune_cli.main import main
from finetune_client import RefusalError
from finetune_client.local import Local
from tests.cli.test_run import here, pages_job
from tests.hub import RunningHub

__all__ = ["here"]
pytestmark = pytest.mark.training


def test_a_job_is_submitted_suspended_resumed_and_looked_at_here(
    here: Path, hub: RunningHub, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = pages_job(here, hub, model=tiny_model, evaluation={"every": 3})
    unpublished = hub.calls()

    job = Local().submit(file, publish=False)
    job.suspend()
    suspended = job.status.phase
    with pytest.raises(RefusalError) as refused:
        job.wait()
    job.resume()
    status = job.wait()

    assert (suspended, refused.value.code) == (Phase.SUSPENDED, ExitCode.PREEMPTED)
    assert (status.phase, job.status.phase) == (Phase.SUCCEEDED, Phase.SUCCEEDED)
    assert {one.metric for one in status.evaluations} >= {"ndcg@10"}
    assert job.explain().startswith("pages is Succeeded (")
    assert list(job.curve().columns) == ["step", "loss", "score"]
    assert any('"event"' in line for line in job.logs())
    assert job.report().startswith("<!doctype html>")
    assert not [call for call in hub.calls()[len(unpublished) :] if call.startswith("POST") and "commit" in call]

    capfd.readouterr()
    code = main(["run", file, "--no-publish", "-o", "json"])

    told = json.loads(capfd.readouterr().out)
    assert (code, told["status"]["phase"]) == (0, "Succeeded")
    assert told["model"] == str(here / "build" / "finetune" / "pages" / "train" / "model")
    assert [one["metric"] for one in told["status"]["evaluations"]] == [one.metric for one in status.evaluations]


def test_what_goes_wrong_is_raised_as_on_a_cluster(
    here: Path, hub: RunningHub, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = pages_job(here, hub, model=tiny_model)
    text = (here / "job.yaml").read_text().replace("positive: image", "positive: page")
    Path(file).write_text(text)

    job = Local().submit(file, publish=False)
    with pytest.raises(RefusalError, match=r"pages is Failed \(ColumnNotFound: ") as refused:
        job.wait()
    code = main(["run", file, "--no-publish", "-o", "json"])

    assert refused.value.code == code == ExitCode.BAD_DATA
    assert json.loads(capfd.readouterr().out)["reason"] == "ColumnNotFound"


def test_what_is_wrong_with_a_manifest_is_told_before_anything_is_begun(here: Path) -> None:
    with pytest.raises(RefusalError, match="spec is missing"):
        Local().submit({"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneJob", "metadata": {"name": "x"}})

    assert list(here.iterdir()) == []
