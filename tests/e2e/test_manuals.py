"""Real weights on real text: examples/manuals.yaml, from its start to the manifest that serves the model."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.demo.reloading import evaluate_published
from tests.e2e.conftest import NAMESPACE
from tests.hub import RunningHub
from tests.stack import jobs
from tests.stack.inputs import forget_model
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e


def test_minilm_gets_better_at_finding_sections_of_debians_manuals_and_may_be_served(
    kube: Kubectl, submit: Callable[[Manifest], Manifest], hub: RunningHub, tmp_path: Path
) -> None:
    manifest = jobs.load_example("manuals", namespace=NAMESPACE)
    forget_model(kube, manifest["spec"]["publish"]["repository"])
    job = submit(manifest)

    status = jobs.wait_until_finished(kube, job, seconds=1500)["status"]

    assert status["phase"] == "Succeeded", status
    ndcg = next(entry for entry in status["evaluations"] if entry["metric"] == "ndcg@10")
    assert ndcg["final"] - ndcg["baseline"] >= 0.03
    dataset = job["spec"]["data"]["evaluation"][0]["source"].removeprefix("hf://")
    reloaded = evaluate_published(kube, status["published"]["repository"], dataset, layout="TABLES")
    assert round(reloaded["ndcg@10"], 4) == round(ndcg["final"], 4)
    told = serve(kube, hub, job)
    (tmp_path / "serve.yaml").write_text(told)
    made = kube.run("apply", "--dry-run=server", "-o", "name", "-f", str(tmp_path / "serve.yaml"))
    assert f"--revision={status['published']['commit']}" in told
    assert made.split() == ["deployment.apps/manuals", "service/manuals"]


def serve(kube: Kubectl, hub: RunningHub, job: Manifest) -> str:
    """Return what `finetune serve` prints of a job that is published."""
    command = [sys.executable, "-m", "finetune_cli", "serve", job["metadata"]["name"], "-n", NAMESPACE]
    environment = kube.environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.read_token}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done
    return done.stdout
