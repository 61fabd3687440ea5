"""Real weights on real text: examples/manuals.yaml."""

from collections.abc import Callable

import pytest

from tests.demo.reloading import evaluate_published
from tests.e2e.conftest import NAMESPACE
from tests.stack import jobs
from tests.stack.inputs import forget_model
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e


def test_minilm_gets_better_at_finding_sections_of_debians_manuals(
    kube: Kubectl, submit: Callable[[Manifest], Manifest]
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
