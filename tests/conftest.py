"""What tests on a cluster share: one cluster for all of them."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.stack.kubectl import Kubectl
from tests.stack.target import Target, find_kubectl, find_target

# On a machine that is busy an example may take any time.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

CRD = Path(__file__).parents[1] / "crds" / "finetunejobs.yaml"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that tests/trainer sets by the names of files; pyproject.toml has those that are written."""
    config.addinivalue_line("markers", "training: loads models or trains, for seconds each and minutes in all")


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """A cluster that serves FinetuneJobs; started if it does not run."""
    found = find_kubectl()
    found.run("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    found.run("wait", "--for=condition=Established", "crd/finetunejobs.finetune.dev", "--timeout=300s")
    return found


@pytest.fixture(scope="session")
def target() -> Target:
    """A cluster with the images of this checkout."""
    return find_target()
