"""Labels by which Kueue takes a Job into a queue."""

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.types import FinetuneJob
from finetune_operator.core.platform import Platform


def queue_labels(job: FinetuneJob, role: Role, *, platform: Platform) -> dict[str, str]:
    """Return the labels of a Job of that role; none where it is made without a queue."""
    schedule = job.spec.schedule
    if role != Role.TRAIN and not platform.queue_all_roles:
        return {}
    named = {
        keys.LABEL_KUEUE_QUEUE: schedule.queue_name,
        keys.LABEL_KUEUE_PRIORITY: schedule.queue_priority_class_name,
    }
    return {label: value for label, value in named.items() if value is not None}
