"""What a pod said outlives it: on the job's volume, where the status says, read as docs/logs.md shows."""

import re
from pathlib import Path

import yaml

from tests.e2e.conftest import NAMESPACE
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest

PAGE = Path(__file__).parents[2] / "docs" / "logs.md"
PLACE = re.compile(r"Log: (?P<log>\S+) on claim (?P<claim>\S+)$")


def _reader(claim: str, *, image: str) -> Manifest:
    """Return the pod that the page shows, for this claim and with an image that is there."""
    shown = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    pod: Manifest = yaml.safe_load(shown[1])
    pod["metadata"]["namespace"] = NAMESPACE
    pod["spec"]["containers"][0]["image"] = image
    pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = claim
    return pod


def _read_volume(kube: Kubectl, pod: Manifest) -> dict[str, str]:
    """Return what the pod prints, by file."""
    kube.apply(pod)
    kube.run("wait", "pod/logs", "-n", NAMESPACE, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=10m")
    printed = kube.run("logs", "logs", "-n", NAMESPACE)
    kube.delete("pod", "logs", namespace=NAMESPACE)
    _, *parts = re.split(r"^==> /volume/(.*) <==$", printed, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def read_logs(kube: Kubectl, restarting: Manifest, *, image: str) -> tuple[str, dict[str, str]]:
    """Return where the status says that the log of the lost rank is, and what the volume holds, by file."""
    place = PLACE.search(jobs.condition(restarting, "Training")["message"])
    assert place is not None, restarting["status"]
    return place["log"], _read_volume(kube, _reader(place["claim"], image=image))
