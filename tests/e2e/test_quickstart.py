"""What a newcomer does first: examples/quickstart.yaml, as it is, applied as a file."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import NAMESPACE
from tests.stack import jobs
from tests.stack.install import ROOT
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = [pytest.mark.e2e, pytest.mark.longer]  # `make twins` trains it, too


@pytest.fixture
def applied(kube: Kubectl) -> Iterator[Manifest]:
    """The job of the file."""
    kube.run("apply", "-n", NAMESPACE, "-f", str(ROOT / "examples" / "quickstart.yaml"))
    yield jobs.load_example("quickstart", namespace=NAMESPACE)
    kube.delete(jobs.KIND, "quickstart", namespace=NAMESPACE)


def test_the_quickstart_gets_better_on_one_node_without_a_token_and_publishes_nothing(
    kube: Kubectl, applied: Manifest
) -> None:
    status = jobs.wait_until_finished(kube, applied, seconds=1200)["status"]

    assert status["phase"] == "Succeeded", status
    (score,) = [entry for entry in status["evaluations"] if entry["metric"] == "ndcg@10"]
    assert score["final"] - score["baseline"] >= 0.005
    assert (status["worldSize"], status["restarts"]["total"]) == (1, 0)
    assert "published" not in status
