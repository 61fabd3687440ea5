"""A job whose tracker is away, and is told once it is there: a real MLflow server on this machine."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import addresses
from tests.cluster.api import wait_until
from tests.e2e.conftest import NAMESPACE, quick_job
from tests.e2e.gang import children
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target
from tests.tracker import Account, RunningMlflow, running_mlflow

pytestmark = [pytest.mark.e2e, pytest.mark.longer]

ACCOUNT = Account()
SECRET = "mlflow"


@pytest.fixture
def server(target: Target, kube: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningMlflow]:
    """A server that the nodes reach, and the Secret of its account, whose keys this process has, too."""
    if not target.is_ours:
        pytest.skip("a given cluster does not reach servers of this machine")
    for name, value in ACCOUNT.settings().items():
        monkeypatch.setenv(name, value)
    metadata = {"name": SECRET, "namespace": NAMESPACE}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": ACCOUNT.settings()})
    with running_mlflow(tmp_path, host=addresses.HOST, account=ACCOUNT) as running:
        yield running
    kube.delete("secret", SECRET, namespace=NAMESPACE)


def tracking(uri: str) -> Manifest:
    return {"mlflow": {"uri": uri, "experiment": "e2e", "secretName": SECRET}}


def points_of(server: RunningMlflow, run: str, name: str) -> dict[int, float]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=server.uri)
    return {one.step: one.value for one in client.get_metric_history(run, name)}


def secrets_of(pods: list[Manifest]) -> list[str]:
    return [volume["secret"]["secretName"] for pod in pods for volume in pod["spec"]["volumes"] if "secret" in volume]


def test_a_tracker_that_is_away_delays_nothing_and_has_the_trainer_s_curve_once_it_is_told(
    kube: Kubectl, submit: Callable[[Manifest], Manifest], server: RunningMlflow
) -> None:
    short = {"training__maxSteps": 6, "evaluation__every": 3, "publish": None}
    job = submit(quick_job("tracked", tracking=tracking(f"http://{addresses.HOST}:9"), **short))

    trainers: list[Manifest] = []

    def are_there() -> bool:
        trainers[:] = children(kube, "pods", job, "train")
        return trainers != []

    wait_until(are_there, seconds=900, what="a gang")
    ended = jobs.wait_until_finished(kube, job, seconds=900)
    away = jobs.wait_until(
        kube, job, lambda state: jobs.condition(state, "Tracked").get("reason") == "TrackerUnavailable", seconds=600
    )
    trackers = children(kube, "pods", job, "track")
    kube.apply(jobs.change(job, tracking=tracking(server.uri), rerun="the tracker is back"))
    told = jobs.wait_until(
        kube, job, lambda state: jobs.condition(state, "Tracked").get("status") == "True", seconds=900
    )

    assert (jobs.condition(ended, "Succeeded")["status"], ended["status"]["phase"]) == ("True", "Succeeded")
    assert (away["status"]["phase"], jobs.condition(away, "Tracked")["status"]) == ("Succeeded", "Unknown")
    assert (secrets_of(trainers), set(secrets_of(trackers))) == ([], {SECRET})
    assert children(kube, "pods", job, "train") == [], "nothing is trained again"
    status = told["status"]["tracking"]
    (report,) = (json.loads(path.read_text()) for path in server.files.rglob("report.json"))
    losses = {point["step"]: point["loss"] for point in report["curve"] if point["loss"] is not None}
    scores = {point["step"]: point["score"] for point in report["curve"] if point["score"] is not None}
    assert report["run"] == told["status"]["run"]
    assert points_of(server, status["run"], "train/loss") == losses
    assert points_of(server, status["run"], "eval/score") == {0: report["metrics"]["baselineScore"], **scores}
    assert status["url"].startswith(f"{server.uri}/#/experiments/")
