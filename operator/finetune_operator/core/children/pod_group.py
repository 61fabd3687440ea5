"""The PodGroup of one gang: the scheduler gives its pods nodes all at once, or none of them.

Two gangs that each hold half of the nodes would wait for each other for ever.
https://kubernetes.io/docs/concepts/scheduling-eviction/gang-scheduling/
"""

from typing import Any

from finetune_api.contract import Role
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.children.pod_template import chosen
from finetune_operator.core.platform import Platform

DEFAULT_SCHEDULER = "default-scheduler"
API_VERSION = "scheduling.k8s.io/v1beta1"


def is_gang_scheduled(job: FinetuneJob, *, platform: Platform) -> bool:
    """Tell whether a gang needs the scheduler's help; a queue admits it whole by itself, another scheduler may."""
    is_alone = job.spec.resources.nodes == 1
    scheduler = chosen(job, Role.TRAIN, "scheduler_name", platform=platform)
    is_elsewhere = job.spec.schedule.queue_name is not None or scheduler not in (None, DEFAULT_SCHEDULER)
    return platform.gang_scheduling == "Auto" and not is_alone and not is_elsewhere


def build_pod_group(
    job: FinetuneJob, *, attempt: int, num_nodes: int | None = None, platform: Platform
) -> dict[str, Any]:
    """Return the PodGroup of one attempt, of the name of its Job. It is preempted as a whole, too."""
    # Without the label of a role: it may be made while ranks of an older gang still go away, the Job may not.
    spec: dict[str, Any] = {
        "schedulingPolicy": {"gang": {"minCount": num_nodes or job.spec.resources.nodes}},
        "disruptionMode": {"all": {}},
    }
    if (priority := chosen(job, Role.TRAIN, "priority_class_name", platform=platform)) is not None:
        spec["priorityClassName"] = priority
    return {
        "apiVersion": API_VERSION,
        "kind": "PodGroup",
        "metadata": names.metadata(job, names.train_job(job, attempt), attempt=attempt),
        "spec": spec,
    }
