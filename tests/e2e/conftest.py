"""The installed product for end-to-end tests: operator, Hub and inputs on the cluster, one namespace for the jobs."""

import secrets
from collections.abc import Callable, Iterator

import pytest

from finetune_api import keys
from tests.cluster.paths import exclusive
from tests.hub.running import RunningHub
from tests.stack import jobs
from tests.stack.inputs import push_inputs, reach_hub
from tests.stack.install import SYSTEM_NAMESPACE, Stack, install
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

NAMESPACE = "finetune-e2e"
#: A Hub that outlives a test run has the repositories of earlier runs.
RUN = secrets.token_hex(3)
#: Several times as long as a checkpoint takes to be reported, where nothing else runs on two cores.
LONG_JOB_STEPS = 200


@pytest.fixture(scope="session")
def stack(target: Target, testrun_uid: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The product, installed once for all processes of a test run."""
    with exclusive("e2e"):
        done = tmp_path_factory.getbasetemp().parent / f"installed-{testrun_uid}"
        if not done.exists():
            _start_afresh(install(target))
            done.touch()
    return Stack(target=target)


def _start_afresh(stack: Stack) -> None:
    """Have the inputs on the Hub, and neither jobs nor faults of an earlier run."""
    kube = stack.target.kubectl
    stack.namespace(NAMESPACE)
    kube.run("delete", jobs.KIND, "--all", "-n", NAMESPACE)
    push_inputs(kube, "all")
    with reach_hub(kube) as endpoint:
        RunningHub(endpoint).clear()


@pytest.fixture(scope="session")
def kube(stack: Stack) -> Kubectl:
    return stack.target.kubectl


@pytest.fixture
def hub(kube: Kubectl) -> Iterator[RunningHub]:
    """The Hub in the cluster, to look at."""
    with reach_hub(kube) as endpoint:
        yield RunningHub(endpoint)


@pytest.fixture
def own_operator(kube: Kubectl) -> Iterator[None]:
    """The operator, to kill or to look into; other tests that do wait meanwhile."""
    with exclusive("operator"):
        kube.run("rollout", "status", "deployment/finetune-operator", "-n", SYSTEM_NAMESPACE, "--timeout=10m")
        yield


@pytest.fixture
def submit(kube: Kubectl) -> Iterator[Callable[[Manifest], Manifest]]:
    """Apply a job; it is deleted after the test."""
    submitted: list[Manifest] = []

    def apply(manifest: Manifest) -> Manifest:
        submitted.append(manifest)
        kube.apply(manifest)
        return manifest

    yield apply
    for manifest in submitted:
        name = manifest["metadata"]["name"]
        kube.delete(jobs.KIND, name, namespace=NAMESPACE)
        # The volume of a job that was not published outlives it.
        kube.run("delete", "persistentvolumeclaims", "-n", NAMESPACE, "-l", f"{keys.LABEL_JOB}={name}", "--wait=false")


def repository(name: str) -> str:
    """Return the repository of this test run's job of that name."""
    return f"demo/{name}-{RUN}"


def quick_job(name: str, **changes: object) -> Manifest:
    """Return the demo's job made short: a few dozen steps, a checkpoint every few of them."""
    short = {
        "training__maxSteps": 30,
        "training__numTrainEpochs": 10,
        "checkpoint__everySteps": 5,
        "evaluation__every": 15,
        "publish__repository": repository(name),
        "publish__gate": None,
        "publish__always": True,
    }
    manifest = jobs.load_example("demo", namespace=NAMESPACE, **(short | changes))
    return jobs.named(manifest, name)


def long_job(name: str, **changes: object) -> Manifest:
    """Return the demo's job long enough to be interrupted: still at its steps when a first checkpoint is reported."""
    long = {
        "training__maxSteps": LONG_JOB_STEPS,
        "checkpoint__everySteps": 20,
        "evaluation__every": LONG_JOB_STEPS // 2,
    }
    return quick_job(name, **(long | changes))
