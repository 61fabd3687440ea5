"""The PodGroup of one gang: the scheduler gives its pods nodes all at once, or none of them.

Two gangs that each hold half of the nodes would wait for each other for ever.
https://kubernetes.io/docs/concepts/scheduling-eviction/gang-scheduling/
"""

from typing import Any

from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.platform import Platform

API_VERSION = "scheduling.k8s.io/v1beta1"


def is_gang_scheduled(job: FinetuneJob, *, platform: Platform) -> bool:
    """Tell whether a gang needs the scheduler's help; a queue admits it whole by itself."""
    is_alone = job.spec.resources.nodes == 1
    return platform.gang_scheduling == "Auto" and not is_alone and job.spec.schedule.queue_name is None


def build_pod_group(job: FinetuneJob, *, attempt: int) -> dict[str, Any]:
    """Return the PodGroup of one attempt, of the name of its Job. It is preempted as a whole, too."""
    # Without the label of a role: it may be made while ranks of an older gang still go away, the Job may not.
    spec: dict[str, Any] = {
        "schedulingPolicy": {"gang": {"minCount": job.spec.resources.nodes}},
        "disruptionMode": {"all": {}},
    }
    if job.spec.schedule.priority_class_name is not None:
        spec["priorityClassName"] = job.spec.schedule.priority_class_name
    return {
        "apiVersion": API_VERSION,
        "kind": "PodGroup",
        "metadata": names.metadata(job, names.train_job(job, attempt), attempt=attempt),
        "spec": spec,
    }
