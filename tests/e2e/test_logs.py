"""What a pod said outlives it: on the job's volume, where the status says, read as docs/logs.md shows."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import NAMESPACE, long_job
from tests.e2e.gang import children, kill_rank, names
from tests.stack import jobs
from tests.stack.install import Stack
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e
PAGE = Path(__file__).parents[2] / "docs" / "logs.md"
PLACE = re.compile(r"Log: (?P<log>\S+) on claim (?P<claim>\S+)$")


def reader(claim: str, *, image: str) -> Manifest:
    """Return the pod that the page shows, for this claim and with an image that is there."""
    shown = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    pod: Manifest = yaml.safe_load(shown[1])
    pod["metadata"]["namespace"] = NAMESPACE
    pod["spec"]["containers"][0]["image"] = image
    pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = claim
    return pod


def read_volume(kube: Kubectl, pod: Manifest) -> dict[str, str]:
    """Return what the pod prints, by file."""
    kube.apply(pod)
    kube.run("wait", "pod/logs", "-n", NAMESPACE, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    printed = kube.run("logs", "logs", "-n", NAMESPACE)
    kube.delete("pod", "logs", namespace=NAMESPACE)
    _, *parts = re.split(r"^==> /volume/(.*) <==$", printed, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_log_of_a_lost_attempt_stays_on_the_volume_and_the_status_says_where(
    kube: Kubectl, stack: Stack, submit: Callable[[Manifest], Manifest]
) -> None:
    job = submit(long_job("logs"))
    jobs.wait_until(kube, job, lambda seen: bool((seen.get("status") or {}).get("checkpoint")), seconds=600)
    lost = names(children(kube, "pods", job, "train"))

    kill_rank(kube, job, 1)
    restarting = jobs.wait_until(kube, job, lambda seen: seen["status"]["phase"] == "Restarting", seconds=300)
    for pod in lost:
        kube.run("wait", "--for=delete", f"pod/{pod}", "-n", NAMESPACE, "--timeout=90s")
    place = PLACE.search(jobs.condition(restarting, "Training")["message"])
    assert place is not None, restarting["status"]
    logs = read_volume(kube, reader(place["claim"], image=stack.target.images["trainer"]))

    assert place["log"] == "logs/attempt-1/rank-1.log"
    assert '"reason": "RankKilled"' in logs[place["log"]]
    assert '"event": "checkpoint"' in logs["logs/attempt-1/rank-0.log"]
    assert "Validated" in logs["logs/prepare.log"]
