"""A job whose tracker sees it train, is away at its end, and told once it is back: a real MLflow on this machine."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import addresses
from tests.cluster.api import wait_until
from tests.e2e.conftest import NAMESPACE, long_job
from tests.e2e.gang import children, rank_pod, signal_rank
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


def runs_of(server: RunningMlflow, job: Manifest) -> list[str]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=server.uri)
    experiment = client.get_experiment_by_name("e2e")
    mine = f"tags.`finetune.dev/job-uid` = '{job['metadata']['uid']}'"
    runs = [] if experiment is None else client.search_runs([experiment.experiment_id], mine)
    return [run.info.run_id for run in runs]


def test_a_tracker_is_told_while_the_gang_trains_and_one_that_is_away_at_the_end_delays_nothing(
    kube: Kubectl, submit: Callable[[Manifest], Manifest], server: RunningMlflow
) -> None:
    job = submit(long_job("tracked", tracking=tracking(server.uri), publish=None))
    stored = jobs.wait_until(kube, job, lambda state: "checkpoint" in state.get("status", {}), seconds=1800)
    rank = rank_pod(kube, job, 1)
    signal_rank(kube, job, rank, "SIGSTOP")  # the gang stands still, however long the tracker takes

    live: dict[int, float] = {}

    def is_told() -> bool:
        live.update(*(points_of(server, run, "train/loss") for run in runs_of(server, stored)))
        return live != {}

    wait_until(is_told, seconds=900, what="a point at the tracker")
    (run,) = runs_of(server, stored)
    training = kube.get(jobs.KIND, job["metadata"]["name"], namespace=NAMESPACE) or {}
    trainers, trackers = children(kube, "pods", job, "train"), children(kube, "pods", job, "track")
    kube.apply(jobs.change(job, tracking=tracking(f"http://{addresses.HOST}:9")))
    signal_rank(kube, job, rank, "SIGCONT")
    ended = jobs.wait_until_finished(kube, job, seconds=1800)
    away = jobs.wait_until(
        kube, job, lambda state: jobs.condition(state, "Tracked").get("reason") == "TrackerUnavailable", seconds=600
    )
    kube.apply(jobs.change(job, tracking=tracking(server.uri), rerun="the tracker is back"))
    told = jobs.wait_until(
        kube, job, lambda state: jobs.condition(state, "Tracked").get("status") == "True", seconds=900
    )

    assert (training["status"]["phase"], jobs.condition(training, "Tracked")["reason"]) == ("Training", "Tracking")
    assert (secrets_of(trainers), secrets_of(trackers)) == ([], [SECRET])
    assert (jobs.condition(ended, "Succeeded")["status"], ended["status"]["phase"]) == ("True", "Succeeded")
    assert (away["status"]["phase"], jobs.condition(away, "Tracked")["status"]) == ("Succeeded", "Unknown")
    assert children(kube, "pods", job, "train") == [], "nothing is trained again"
    status = told["status"]["tracking"]
    (report,) = (json.loads(path.read_text()) for path in server.files.rglob("report.json"))
    losses = {point["step"]: point["loss"] for point in report["curve"] if point["loss"] is not None}
    scores = {point["step"]: point["score"] for point in report["curve"] if point["score"] is not None}
    assert (status["run"], report["run"]) == (run, told["status"]["run"])
    assert live.items() < losses.items()
    assert points_of(server, run, "train/loss") == losses
    assert points_of(server, run, "eval/score") == {0: report["metrics"]["baselineScore"], **scores}
    assert status["url"].startswith(f"{server.uri}/#/experiments/")
