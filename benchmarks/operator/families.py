"""FinetuneJobs with all that a run leaves or has: Jobs and pods as the operator makes them, with statuses of a run.

Nothing of them runs: the Job controller leaves a Job to whom its `managedBy` names, and no scheduler answers to the
pods' `schedulerName`. Pods are padded to what pods have where admission adds sidecars, environment and volumes.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator

from benchmarks.operator.api import MERGE, Api, Object
from benchmarks.operator.player import ENDINGS, pod_status
from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.status import (
    CheckpointStatus,
    Condition,
    ConditionType,
    EvaluationScore,
    FinetuneJobStatus,
    MetricsStatus,
    ModelStatus,
    Phase,
    ProgressStatus,
)
from finetune_api.types import FinetuneJob
from finetune_operator.core.children.prepare_job import build_prepare_job
from finetune_operator.core.children.publish_job import build_publish_job
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.platform import Platform
from finetune_operator.shell.kinds import FINETUNE_JOB, JOB, POD, Kind

NODES = 2
POD_BYTES = 16 * 1024
TIME = "2026-11-23T09:00:00Z"
MAX_AT_ONCE = 48
PLATFORM = Platform(trainer_image="registry.example/trainer:1")


async def create_families(api: Api, template: Object, names: Iterable[str], *, is_finished: bool) -> None:
    """Create FinetuneJobs of these names with all that they have by then."""
    slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def create(name: str) -> None:
        async with slots:
            manifest = template | {"metadata": template["metadata"] | {"name": name}}
            await _create_family(api, manifest, is_finished=is_finished)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(create(name))


async def _create_family(api: Api, manifest: Object, *, is_finished: bool) -> None:
    status = _status(is_finished=is_finished).model_dump(mode="json", by_alias=True, exclude_none=True)
    job = FinetuneJob.model_validate(await _create(api, FINETUNE_JOB, manifest, status))
    for role, child in jobs_of(job, is_finished=is_finished):
        has_ended = is_finished or role == Role.PREPARE
        made = await _create(api, JOB, child, _job_status(child) if has_ended else {"startTime": TIME})
        phase, ending = ("Succeeded", ENDINGS[role].to_termination_message()) if has_ended else ("Running", "")
        for index in range(child["spec"]["completions"]):
            await _create(api, POD, _pod(made, index), pod_status([role.value], phase, ending, at=TIME))


def jobs_of(job: FinetuneJob, *, is_finished: bool) -> Iterator[tuple[Role, Object]]:
    """Yield the Jobs that the operator makes for it, in this order; publish is made by the finished only."""
    yield Role.PREPARE, build_prepare_job(job, platform=PLATFORM)
    yield Role.TRAIN, build_train_job(job, attempt=1, platform=PLATFORM)
    if is_finished and job.spec.publish is not None:
        yield Role.PUBLISH, build_publish_job(job, job.spec.publish, platform=PLATFORM)


async def _create(api: Api, kind: Kind, manifest: Object, status: Object) -> Object:
    """Create an object with a status; return it as the server keeps it."""
    if kind == JOB:
        own = {"completions": 1, "parallelism": 1, "managedBy": "finetune.dev/benchmark"}
        manifest["spec"] = own | manifest["spec"]
    path = kind.path(manifest["metadata"]["namespace"])
    made = await api.send("POST", path, manifest)
    return await api.send("PATCH", f"{path}/{made['metadata']['name']}/status", {"status": status}, MERGE)


def _job_status(child: Object) -> Object:
    conditions = [
        {"type": kind, "status": "True", "reason": "CompletionsReached", "lastTransitionTime": TIME}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    num_pods = child["spec"]["completions"]
    ended: Object = {"startTime": TIME, "completionTime": TIME, "succeeded": num_pods, "conditions": conditions}
    return ended | (
        {"completedIndexes": f"0-{num_pods - 1}"} if child["spec"].get("completionMode") == "Indexed" else {}
    )


def _pod(job: Object, index: int) -> Object:
    template, name = job["spec"]["template"], job["metadata"]["name"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{index}-abcde",
            "namespace": job["metadata"]["namespace"],
            "labels": template["metadata"]["labels"] | {keys.LABEL_COMPLETION_INDEX: str(index)},
            "annotations": {},
            "ownerReferences": [owner],
        },
        "spec": template["spec"] | {"schedulerName": "nobody"},
    }
    num_lines = max(0, POD_BYTES - len(json.dumps(pod))) // 128
    pod["metadata"]["annotations"] = {f"example.dev/line-{line:03d}": "x" * 100 for line in range(num_lines)}
    return pod


def _status(*, is_finished: bool) -> FinetuneJobStatus:
    return FinetuneJobStatus(
        observed_generation=1,
        phase=Phase.SUCCEEDED if is_finished else Phase.TRAINING,
        attempt=1,
        world_size=NODES,
        start_time=TIME,
        completion_time=TIME if is_finished else None,
        phase_times={phase.value: TIME for phase in (Phase.PENDING, Phase.PREPARING, Phase.QUEUED, Phase.TRAINING)},
        progress=ProgressStatus(stage="Training", step=180, total_steps=288, percent=62, last_update_time=TIME),
        metrics=MetricsStatus(train_loss=0.123456, learning_rate=1e-5, score=0.9, best_score=0.92, baseline_score=0.4),
        evaluations=[EvaluationScore(name=f"set-{n}", metric="ndcg@10", baseline=0.4, final=0.9) for n in range(4)],
        model=ModelStatus(revision="0" * 40, modalities=["text", "image"], embedding_dimension=1024),
        checkpoint=CheckpointStatus(step=180, time=TIME),
        conditions=[
            Condition(
                type=kind.value,
                status="True" if is_finished or kind == ConditionType.VALIDATED else "Unknown",
                observed_generation=1,
                last_transition_time=TIME,
                reason="Published" if is_finished else "Training",
                message="what happened, in about as many words as the operator uses for it, and what to do next",
            )
            for kind in ConditionType
        ],
    )
