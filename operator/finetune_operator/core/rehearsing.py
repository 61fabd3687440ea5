"""What is shown to the API server before anything is made, so that it can refuse it before anything is spent."""

from finetune_operator.core.children.prepare_job import build_prepare_job
from finetune_operator.core.children.publish_job import build_publish_job
from finetune_operator.core.children.track_job import build_track_job
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.decision import Manifest, Situation

#: A PodGroup is made with its gang only.
_NOT_YET = ("schedulingGroup",)


def rehearsal(situation: Situation) -> tuple[Manifest, ...]:
    """Return the first gang's Job; of a job that adds to its pods every Job, and the pod of each.

    The Job says whether a pod can be written so. Whether it may be made is asked of pods alone: Pod Security, limit
    ranges, ServiceAccounts, priority and runtime classes, policies.
    """
    job, platform = situation.job, situation.platform
    gang = build_train_job(job, attempt=1, platform=platform)
    if job.spec.pod_template is None:
        return (gang,)
    jobs = [build_prepare_job(job, platform=platform), gang]
    if job.spec.publish is not None:
        jobs.append(build_publish_job(job, job.spec.publish, platform=platform))
    if job.spec.tracking is not None:
        jobs.append(build_track_job(job, job.spec.tracking, job.status, platform=platform))
    return (*jobs, *map(_pod_of, jobs))


def _pod_of(job: Manifest) -> Manifest:
    template, own = job["spec"]["template"], job["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": own["name"], "namespace": own["namespace"]},
        "spec": {name: value for name, value in template["spec"].items() if name not in _NOT_YET},
    }
