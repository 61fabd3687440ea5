"""`finetune` on a cluster: every verb on one short job, from its submission to a second run."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import NAMESPACE, long_job
from tests.e2e.gang import children, rank_pod, signal_rank, wait_until_freed
from tests.e2e.states import has_checkpoint, in_phase, trains
from tests.stack import jobs
from tests.stack.install import ROOT
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e
NAME = "command-line"


def finetune(kube: Kubectl, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what the command prints, typed as a user does, whatever code it ends with."""
    command = [sys.executable, "-m", "finetune_cli", *arguments, "-n", NAMESPACE]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=kube.environment, timeout=1800)


def printed(kube: Kubectl, *arguments: str) -> str:
    """Return what the command prints where all is well."""
    done = finetune(kube, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), (arguments, done)
    return done.stdout


@contextmanager
def going_on(kube: Kubectl, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command beside what is done meanwhile; it is ended if it has not ended by then."""
    command = [sys.executable, "-m", "finetune_cli", *arguments, "-n", NAMESPACE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=kube.environment) as process:
        try:
            yield process
        finally:
            process.kill()


def printed_to_its_end(process: subprocess.Popen[str]) -> str:
    """Return what a command that goes on has printed once it has ended well by itself."""
    told, wrong = process.communicate(timeout=1800)
    assert (process.returncode, wrong) == (0, ""), (process.args, told, wrong)
    return told


def test_every_verb_on_one_job_from_its_submission_to_a_second_run(kube: Kubectl, tmp_path: Path) -> None:
    job = long_job(NAME, publish=None, training__maxSteps=120, evaluation__every=40)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job))
    try:
        with going_on(kube, "submit", str(file), "--watch") as submitting:
            _is_submitted_once(kube, job, file)
            pod = _shows_it_in_training(kube, job)
            with going_on(kube, "logs", NAME, "-f") as following:
                _suspends_and_resumes(kube, job, standing_still=pod)
                followed = printed_to_its_end(following)
            _watches_its_end(kube)
            watched = printed_to_its_end(submitting).splitlines()
        assert '"role": "train"' in followed
        assert watched[0] == f"{NAMESPACE}/{NAME} created"
        assert watched[-1].startswith("Succeeded  "), watched
        _keeps_what_its_pods_said(kube, tmp_path)
        _gives_its_model_away(kube, tmp_path)
        _runs_it_once_more(kube, job)
        _is_completed_by_kubectl(kube)
    finally:
        kube.delete(jobs.KIND, NAME, namespace=NAMESPACE)
        kube.run("delete", "persistentvolumeclaims", "-n", NAMESPACE, "-l", f"finetune.dev/job={NAME}", "--wait=false")


def _is_submitted_once(kube: Kubectl, job: Manifest, file: Path) -> None:
    jobs.wait_until(kube, job, bool, seconds=600)
    again = finetune(kube, "submit", str(file))

    assert (again.returncode, again.stdout) == (10, "")
    assert "already exists" in again.stderr


def _shows_it_in_training(kube: Kubectl, job: Manifest) -> str:
    """Look at it while its gang stands still, however long that takes; return the pod that it waits for."""
    jobs.wait_until(kube, job, has_checkpoint, seconds=1800)
    pod = rank_pod(kube, job, 1)
    signal_rank(kube, job, pod, "SIGSTOP")

    screen, listed = printed(kube, "status", NAME), printed(kube, "list")
    explained = json.loads(printed(kube, "explain", NAME, "-o", "json"))
    own, everybodys = (
        printed(kube, "logs", NAME, "--tail", "20"),
        printed(kube, "logs", NAME, "--rank", "all", "-o", "json"),
    )

    assert screen.startswith(f"FinetuneJob {NAMESPACE}/{NAME}   Training   attempt 1\n"), screen
    assert "ndcg@10" in screen
    assert any(line.split()[:2] == [NAME, "Training"] for line in listed.splitlines()), listed
    assert (explained["phase"], explained["move"]) == ("Training", "Nobody's")
    assert '"role": "train"' in own
    assert {json.loads(line)["nodeRank"] for line in everybodys.splitlines()} >= {0}
    status = json.loads(printed(kube, "status", NAME, "-o", "json"))["status"]
    assert [point["step"] for point in status["curve"]] == sorted({point["step"] for point in status["curve"]})
    assert any("loss" in point for point in status["curve"]), status
    return pod


def _suspends_and_resumes(kube: Kubectl, job: Manifest, *, standing_still: str) -> None:
    pods = children(kube, "pods", job, "train")
    assert printed(kube, "suspend", NAME) == f"{NAMESPACE}/{NAME} suspended\n"
    signal_rank(kube, job, standing_still, "SIGCONT")
    suspended = jobs.wait_until(kube, job, in_phase("Suspended"), seconds=1800)["status"]
    wait_until_freed(kube, pods)

    assert "Your move: Set spec.suspend to false" in printed(kube, "explain", NAME)
    assert finetune(kube, "rerun", NAME).returncode == 2
    assert printed(kube, "resume", NAME) == f"{NAMESPACE}/{NAME} resumed\n"
    jobs.wait_until(kube, job, in_phase("Training"), seconds=1800)

    first = finetune(kube, "logs", NAME, "--attempt", "1")  # its pods are gone, and a pod of the next has the volume
    goes_on = jobs.wait_until(kube, job, trains(attempt=2), seconds=1800)["status"]

    assert (first.returncode, first.stderr) == (0, ""), first
    assert '"event": ' in first.stdout
    assert goes_on["restarts"]["total"] == 0
    assert goes_on["progress"]["step"] >= suspended["checkpoint"]["step"]


def _watches_its_end(kube: Kubectl) -> None:
    last = printed(kube, "watch", NAME).splitlines()[-1]

    assert last.startswith("Succeeded  "), last
    assert "Completed: " in last


def _keeps_what_its_pods_said(kube: Kubectl, tmp_path: Path) -> None:
    screen = printed(kube, "status", NAME)

    assert "scores" in screen
    assert "train/model on volume claim " in screen
    report = tmp_path / "report.html"
    assert printed(kube, "report", NAME, "--file", str(report)) == f"{NAMESPACE}/{NAME}: report written to {report}\n"
    assert report.read_text().count("<polyline") == 2  # loss and score
    bundle = tmp_path / "bundle.tar.gz"
    printed(kube, "bundle", NAME, "--file", str(bundle))
    with tarfile.open(bundle) as archive:
        files = {name.removeprefix(f"{NAME}-bundle/") for name in archive.getnames()}
    assert files >= {"job.json", "pods.json", "jobs.json", "volume-claims.json", "events.json"}
    asked = finetune(kube, "logs", NAME, "--attempt", "9")
    assert (asked.returncode, asked.stdout) == (31, "")
    assert "logs/attempt-9/rank-0.log on volume claim " in asked.stderr


def _gives_its_model_away(kube: Kubectl, tmp_path: Path) -> None:
    model = tmp_path / "model"
    told = json.loads(printed(kube, "download", NAME, str(model), "-o", "json"))

    files = {str(path.relative_to(model)): path.stat().st_size for path in model.rglob("*") if path.is_file()}
    assert {"modules.json", "model.safetensors"} <= set(files)
    assert sum(files.values()) == told["bytes"]
    assert told["from"] == "volume"
    left = kube.run("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=finetune-download", "-o", "json")
    assert [pod for pod in json.loads(left)["items"] if "deletionTimestamp" not in pod["metadata"]] == []


def _runs_it_once_more(kube: Kubectl, job: Manifest) -> None:
    assert printed(kube, "rerun", NAME, "--text", "once more") == f"{NAMESPACE}/{NAME} runs once more\n"
    jobs.wait_until(kube, job, lambda state: state["status"].get("rerun") == "once more", seconds=1800)
    last = printed(kube, "watch", NAME, "-o", "json").splitlines()[-1]
    assert json.loads(last)["status"]["phase"] == "Succeeded"


def _is_completed_by_kubectl(kube: Kubectl) -> None:
    """kubectl finds the plugin beside this Python, and what completes it in the checkout."""
    folders = [str(Path(sys.executable).parent), str(ROOT / "cli"), os.environ["PATH"]]
    environment = {**kube.environment, "PATH": os.pathsep.join(folders)}

    command = [kube.program, "__complete", "finetune", "logs", "--role", "p"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=600)

    assert done.stdout.splitlines() == ["prepare", "publish", ":4"], done
