"""`finetune_client.local`: a job on this machine, with the words for jobs of a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_api.contract import ExitCode
from finetune_api.status import Phase
from finetune_cli.main import main
from finetune_client import RefusalError
from finetune_client.local import Local
from tests.cli.test_run import here, pages_job, write_job
from tests.cli.test_stopping import wait_for_end
from tests.hub import RunningHub

__all__ = ["here"]
pytestmark = pytest.mark.training

#: In the place of a role: says who it is, has a child, and takes SIGTERM in one of two ways.
ROLE = """#!/bin/sh
trap '{on_stop}' TERM
sleep 600 &
ls "$TMPDIR" > {here}/given
echo $$ $! > {here}/family.part
mv {here}/family.part {here}/family
while true; do sleep 0.1; done
"""
#: Submits a job and ends while its first role runs.
SCRIPT = """
import sys, time
from pathlib import Path
from finetune_client import ending
from finetune_client.local import Local
ending.SAVING_SECONDS = float(sys.argv[1])
sys.executable = "./role"
job = Local().submit("job.yaml", publish=False)
while not Path("family").exists():
    time.sleep(0.05)
shown = job._repr_html_()
print(shown, flush=True)
"""
SPEC = {"data": {"train": [{"name": "pages", "source": "hf://demo/pages"}]}, "model": {"source": "hf://demo/tiny"}}


def test_a_job_is_submitted_suspended_resumed_and_looked_at_here(
    here: Path, hub: RunningHub, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = pages_job(here, hub, model=tiny_model, evaluation={"every": 3})
    unpublished = hub.calls()

    job = Local().submit(file, publish=False)
    job.suspend()
    suspended, shown = job.status.phase, job._repr_html_()
    with pytest.raises(RefusalError) as refused:
        job.wait()
    job.resume()
    status = job.wait()

    assert (suspended, refused.value.code) == (Phase.SUSPENDED, ExitCode.PREEMPTED)
    assert (status.phase, job.status.phase) == (Phase.SUCCEEDED, Phase.SUCCEEDED)
    assert shown == f"<p>{refused.value}</p>"
    assert {one.metric for one in status.evaluations} >= {"ndcg@10"}
    assert job.explain().startswith("pages is Succeeded (")
    assert list(job.curve().columns) == ["step", "loss", "score"]
    assert any('"event"' in line for line in job.logs())
    assert job.report().startswith("<!doctype html>")
    assert job._repr_html_().startswith('<iframe srcdoc="&lt;!doctype html&gt;')
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


@pytest.mark.parametrize(
    ("on_stop", "seconds"),
    [('kill $!; echo saved > "$0.saved"; exit 17', 600), (":", 0.5)],
    ids=["it saves", "it does not"],
)
def test_a_script_that_ends_leaves_no_process_and_no_token(here: Path, on_stop: str, seconds: float) -> None:
    write_job(here, **SPEC)
    (here / "role").write_text(ROLE.format(on_stop=on_stop, here=here))
    (here / "role").chmod(0o755)
    temporary = here / "tmp"
    temporary.mkdir()

    command = [sys.executable, "-c", SCRIPT, str(seconds)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "<p>pages is Preparing</p>\n"
    assert (here / "given").read_text().startswith("finetune-")
    for pid in (here / "family").read_text().split():
        wait_for_end(int(pid))
    assert list(temporary.iterdir()) == []
    assert (here / "role.saved").exists() == (seconds > 1)
