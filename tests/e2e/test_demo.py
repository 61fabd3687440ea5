"""`make demo` as a newcomer runs it, looked at from outside while it runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.chart.dashboards import JOB, JOBS
from tests.cluster.api import wait_until
from tests.cluster.paths import exclusive
from tests.demo.__main__ import NAMESPACE, REPORT, SUMMARY, closing
from tests.e2e.gang import children, rank_pod
from tests.e2e.prometheus import scraping
from tests.e2e.states import seconds_held
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.install import ROOT, SYSTEM_NAMESPACE, Stack
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e
EXPRESSIONS = [line for rows in (JOBS, JOB) for panels in rows.values() for panel in panels for line in panel.lines]
#: What one scrape shows is of one moment: with this it has all numbers of the finished job.
ENDED = f'finetunejob_phase{{namespace="{NAMESPACE}",name="demo",phase="Succeeded"}} == 1'
#: What there is nothing to show of while all goes well.
QUIET = ("finetune_attempts_total", "finetune_operator_missing_right", "finetune_operator_ignored_objects")


class Run:
    """One `make demo` and what was seen while it ran."""

    def __init__(self) -> None:
        self.printed = ""
        self.summary: dict[str, Any] = {}
        self.states: list[Manifest] = []
        self.nodes: set[str] = set()
        self.rank_metrics = ""
        self.operator_metrics = ""
        self.shown: dict[str, list[Manifest]] = {}
        """What Prometheus shows over the time, by expression of a dashboard."""
        self.rules: list[Manifest] = []


@pytest.fixture(scope="module")
def run(stack: Stack) -> Run:
    with exclusive("operator"):  # Tests that kill it would take its metrics away.
        if not stack.target.is_ours:  # whose pods this machine may not reach
            return _run(stack)
        with scraping(stack.target.kubectl, NAMESPACE) as prometheus:
            seen = _run(stack)
            wait_until(lambda: prometheus.has(ENDED), seconds=600, what="the job's end is scraped")
            seen.shown = {one: prometheus.over_time(_of_the_demo(one)) for one in EXPRESSIONS}
            seen.rules = prometheus.rules()
        return seen


def _of_the_demo(expression: str) -> str:
    """Return a dashboard's expression with its variables filled in."""
    for variable, value in (("$namespace", NAMESPACE), ("$name", "demo"), ("$__rate_interval", "20s")):
        expression = expression.replace(variable, value)
    return expression


def _run(stack: Stack) -> Run:
    seen = Run()
    kube = stack.target.kubectl
    job = jobs.load_example("demo", namespace=NAMESPACE)
    stack.namespace(NAMESPACE)
    kube.delete(jobs.KIND, "demo", namespace=NAMESPACE)
    demo = subprocess.Popen(
        [sys.executable, "-m", "tests.demo", "up"], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True
    )
    for state in kube.watch(jobs.KIND, "demo", namespace=NAMESPACE, seconds=3000):
        seen.states.append(state)
        metrics = state.get("status", {}).get("metrics") or {}
        if metrics.get("score") is not None and not seen.rank_metrics:
            _look_inside(kube, job, seen)
        if jobs.is_finished(state):
            break
    seen.printed, _ = demo.communicate(timeout=1800)
    assert demo.returncode == 0, seen.printed
    seen.summary = json.loads(SUMMARY.read_text())
    return seen


def _look_inside(kube: Kubectl, job: Manifest, seen: Run) -> None:
    seen.nodes = {pod["spec"]["nodeName"] for pod in children(kube, "pods", job, "train")}
    pod = rank_pod(kube, job, 0)
    with kube.port_forward(f"pod/{pod}", 9400, namespace=NAMESPACE) as address:
        seen.rank_metrics = _read(f"{address}/metrics")
    with kube.port_forward("deploy/finetune-operator", 8080, namespace=SYSTEM_NAMESPACE) as address:

        def has_score() -> bool:
            seen.operator_metrics = _read(f"{address}/metrics")
            return f'finetunejob_score{{metric="ndcg@10",name="demo",namespace="{NAMESPACE}"}}' in seen.operator_metrics

        # The API server tells the operator of its own write a moment after us, or before.
        wait_until(has_score, seconds=600, what="the operator exports the score that is in the status")


def _read(address: str) -> str:
    with urlopen(address, timeout=60) as answer:
        return str(answer.read().decode())


def test_the_job_raises_ndcg_from_below_0_2_to_above_0_7_with_two_ranks(run: Run) -> None:
    summary = run.summary

    assert summary["phase"] == "Succeeded"
    assert summary["worldSize"] == 2
    assert summary["baselineNdcg10"] < 0.2
    assert summary["ndcg10"] > 0.7


def test_the_two_ranks_sit_on_two_nodes(run: Run) -> None:
    assert len(run.nodes) == 2


def test_the_published_model_scores_the_same_when_it_is_loaded_back_from_the_hub(run: Run) -> None:
    assert round(run.summary["reloadedNdcg10"], 4) == round(run.summary["ndcg10"], 4)


def test_the_summary_has_every_part(run: Run) -> None:
    assert set(run.summary) >= {
        "phase",
        "worldSize",
        "baselineNdcg10",
        "ndcg10",
        "reloadedNdcg10",
        "dimensions",
        "repository",
        "commit",
        "secondsByPhase",
        "wallSeconds",
    }
    assert set(run.summary["secondsByPhase"]) >= {"Preparing", "Training", "Publishing"}
    assert set(run.summary["metrics"]) >= {"ndcg@10", "mrr@10", "recall@10"}


def test_every_matryoshka_dimension_is_measured_before_and_after(run: Run) -> None:
    spec = run.states[-1]["spec"]
    dimensions = run.summary["dimensions"]

    assert [entry["dimension"] for entry in dimensions] == spec["training"]["loss"]["matryoshkaDimensions"]
    assert all(entry["final"] > entry["baseline"] for entry in dimensions)


def test_the_status_says_what_prepare_does_and_nothing_of_it_later(run: Run) -> None:
    told = [state["status"] for state in run.states if (state.get("status", {}).get("progress") or {}).get("stage")]
    preparing = {status["progress"]["stage"] for status in told if status["phase"] == "Preparing"}
    later = {status["progress"]["stage"] for status in told if status["phase"] != "Preparing"}

    assert preparing
    assert preparing <= {"Fetching", "Opening", "Checking", "Reading", "Saving"}
    assert later <= {"Loading", "Baseline", "Training", "Evaluating", "Saving", "Done"}


def test_loss_ndcg_and_progress_are_in_the_status_while_it_trains(run: Run) -> None:
    training = [state["status"] for state in run.states if state.get("status", {}).get("phase") == "Training"]
    metrics = [status.get("metrics") or {} for status in training]

    assert any("trainLoss" in entry and "score" in entry and "baselineScore" in entry for entry in metrics)
    assert any(0 < (status.get("progress") or {}).get("percent", 0) < 100 for status in training)


def test_the_phases_come_in_order(run: Run) -> None:
    phases = [state["status"]["phase"] for state in run.states if state.get("status", {}).get("phase")]
    order = ["Pending", "Preparing", "Queued", "Training", "Publishing", "Succeeded"]

    assert [phase for phase in order if phase in phases][-4:] == ["Queued", "Training", "Publishing", "Succeeded"]
    assert phases == sorted(phases, key=order.index)


def test_rank_0_and_the_operator_export_loss_and_ndcg_under_different_names(run: Run) -> None:
    for name in (
        "finetune_train_loss",
        "finetune_train_ndcg",
        "finetune_train_baseline_ndcg",
        "finetune_train_grad_norm",
    ):
        assert f"\n{name}" in run.rank_metrics
    job = f'name="demo",namespace="{NAMESPACE}"'
    for name in (
        "finetunejob_train_loss",
        "finetunejob_score",
        "finetunejob_ndcg",
        "finetunejob_baseline_ndcg",
        "finetunejob_progress_ratio",
    ):
        assert any(line.startswith(name) and job in line for line in run.operator_metrics.splitlines()), name


def test_every_graph_of_the_dashboards_has_something_to_show_and_every_alert_is_evaluated(
    run: Run, target: Target
) -> None:
    if not target.is_ours:
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")

    empty = {expression for expression, series in run.shown.items() if not series}

    assert empty == {one for one in EXPRESSIONS if any(name in one for name in QUIET)}
    assert {rule["name"]: rule.get("lastError", "") for rule in run.rules if rule["health"] != "ok"} == {}


def test_loss_and_score_in_prometheus_are_those_of_the_report(run: Run, target: Target) -> None:
    if not target.is_ours:
        pytest.skip("needs the cluster that this project starts itself, but KUBECONFIG names another")
    status = run.states[-1]["status"]

    def values(name: str) -> list[float]:
        (expression,) = [one for one in EXPRESSIONS if one.startswith(f"{name}{{") and "$name" in one]
        (series,) = run.shown[expression]
        return [float(value) for _, value in series["values"]]

    losses, scores, baselines = (
        values(name) for name in ("finetunejob_train_loss", "finetunejob_score", "finetunejob_baseline_score")
    )
    assert losses[-1] == status["metrics"]["trainLoss"]
    # A gauge has the newest value: of two evaluations between two scrapes the first one is never seen.
    evaluated = [point["score"] for point in status["curve"] if "score" in point]
    assert list(dict.fromkeys(scores)) == [score for score in dict.fromkeys(evaluated) if score in scores]
    assert scores[-1] == evaluated[-1]
    assert set(baselines) == {status["metrics"]["baselineScore"]}
    at_rank_0, steps = values("finetune_train_loss"), values("finetune_train_step")
    last = [point for point in status["curve"] if "loss" in point][-1]
    assert 0 < steps[-1] <= last["step"] == status["progress"]["totalSteps"]
    # Its pod may end between two scrapes, before the one that would have seen the last step.
    assert steps[-1] < last["step"] or round(at_rank_0[-1], 4) == round(last["loss"], 4)


def test_what_accelerators_were_held_for_adds_up_and_prometheus_has_the_same(run: Run, target: Target) -> None:
    held = seconds_held(run.states)

    assert held.pop("lost") == 0
    assert min(held.values()) > 0, held
    if target.is_ours:
        (expression,) = [
            one for one in EXPRESSIONS if one.startswith("finetunejob_usage_seconds_total") and "$name" in one
        ]
        series = {one["metric"]["kind"]: float(one["values"][-1][1]) for one in run.shown[expression]}
        assert series == {**held, "lost": 0}


def test_the_hub_got_one_commit_with_a_card_and_no_data(run: Run, kube: Kubectl, hub: RunningHub) -> None:
    commits = hub.commits(run.summary["repository"])["commits"]
    uid = run.states[-1]["metadata"]["uid"]
    newest, *others = [commit for commit in commits if uid in commit["description"]]

    assert others == []
    assert newest["oid"] == run.summary["commit"]
    assert {"README.md", "modules.json"} <= set(newest["files"])
    told = f"runs/{run.states[-1]['status']['run']}"
    images = sorted(name for name in newest["files"] if name.endswith((".png", ".parquet", ".jpg")))
    assert images == [f"{told}/{name}.png" for name in ("dimensions", "loss", "score")]
    assert len([name for name in newest["files"] if name.startswith(f"{told}/events.out.tfevents.")]) == 1


def test_the_conditions_are_those_of_a_finished_success(run: Run) -> None:
    job = run.states[-1]
    found = {entry["type"]: entry["status"] for entry in job["status"]["conditions"]}

    assert found["Succeeded"] == found["Finished"] == found["Validated"] == found["Published"] == "True"
    assert found.get("Stalled", "False") == found.get("Reconciling", "False") == "False"
    assert job["status"]["observedGeneration"] == job["metadata"]["generation"]


def test_the_stored_job_has_neither_finalizers_nor_annotations_but_those_of_kubectl_apply(run: Run) -> None:
    stored = [state["metadata"] for state in run.states]

    assert [metadata["finalizers"] for metadata in stored if "finalizers" in metadata] == []
    assert {name for metadata in stored for name in metadata["annotations"]} == {
        "kubectl.kubernetes.io/last-applied-configuration"
    }


def test_the_terminal_shows_before_and_after_and_ends_with_where_the_report_and_the_dashboards_are(run: Run) -> None:
    for words in ("Held-out queries", "NDCG@10 by embedding size", run.summary["commit"], "Loaded back from the Hub"):
        assert words in run.printed
    assert run.printed.endswith(closing() + "\n")
    assert REPORT.read_text().count("<polyline") == 2  # loss and score


def test_an_operator_that_is_not_of_the_demo_is_left_alone_on_a_cluster_that_is_given(kube: Kubectl) -> None:
    programs = os.pathsep.join([str(Path(kube.program).parent), os.environ["PATH"]])
    given = os.environ | {"KUBECONFIG": kube.kubeconfig, "PATH": programs}
    images = dict.fromkeys(("OPERATOR_IMAGE", "TRAINER_IMAGE", "HUB_IMAGE"), "registry.example/none:1")

    installing, removing = (
        subprocess.run(
            [sys.executable, "-m", "tests.demo", what],
            cwd=ROOT,
            env=given | images,
            capture_output=True,
            text=True,
            check=False,
        )
        for what in ("up", "down")
    )

    assert (installing.returncode, removing.returncode) == (1, 1)
    assert "The cluster has the crd finetunejobs.finetune.dev already, which is not of the demo" in installing.stderr
    assert "Nothing is removed: the namespace finetune-system is not of the demo" in removing.stderr
    assert kube.get("crd", "finetunejobs.finetune.dev", namespace=NAMESPACE) is not None
