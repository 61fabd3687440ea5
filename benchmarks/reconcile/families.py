"""FinetuneJobs with all that a run leaves or has: Jobs and pods as the operator makes them, with statuses of a run.

Nothing of them runs: the Job controller leaves a Job to whom its `managedBy` names, and no scheduler answers to the
pods' `schedulerName`. Pods are padded to what pods have where admission adds sidecars, environment and volumes.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from kubernetes.aio.client import ApiClient

from finetune_api import keys
from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
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

Object = dict[str, Any]
NODES = 2
POD_BYTES = 30 * 1024
TIME = "2026-11-23T09:00:00Z"
MAX_AT_ONCE = 48
PLATFORM = Platform(trainer_image="registry.example/trainer:1")
REASONS = {Role.PREPARE: Reason.VALIDATED, Role.TRAIN: Reason.TRAINED, Role.PUBLISH: Reason.PUBLISHED}


class ApiFailedError(Exception):
    """The API server refused something."""


async def create_families(api: ApiClient, template: Object, *, finished: int, living: int, address: str) -> None:
    """Create them all; rank 0 of the living ones is at `address`."""
    slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def create(index: int) -> None:
        async with slots:
            name = f"{'ended' if index < finished else 'alive'}-{index:05d}"
            manifest = template | {"metadata": template["metadata"] | {"name": name}}
            await _create_family(api, manifest, is_finished=index < finished, address=address)

    async with asyncio.TaskGroup() as group:
        for index in range(finished + living):
            group.create_task(create(index))


async def _create_family(api: ApiClient, manifest: Object, *, is_finished: bool, address: str) -> None:
    status = _status(is_finished=is_finished).model_dump(mode="json", by_alias=True, exclude_none=True)
    job = FinetuneJob.model_validate(await _create(api, FINETUNE_JOB, manifest, status))
    for role, child in _jobs(job, is_finished=is_finished):
        has_ended = is_finished or role == Role.PREPARE
        made = await _create(api, JOB, child, _job_status(child) if has_ended else {"startTime": TIME})
        for index in range(child["spec"]["completions"]):
            ending = RunResult(role=role, reason=REASONS[role]).to_termination_message() if has_ended else ""
            await _create(api, POD, _pod(made, index), _pod_status(role, address, ending))


def _jobs(job: FinetuneJob, *, is_finished: bool) -> Iterator[tuple[Role, Object]]:
    yield Role.PREPARE, build_prepare_job(job, platform=PLATFORM)
    yield Role.TRAIN, build_train_job(job, attempt=1, platform=PLATFORM)
    if is_finished and job.spec.publish is not None:
        yield Role.PUBLISH, build_publish_job(job, job.spec.publish, platform=PLATFORM)


async def _create(api: ApiClient, kind: Kind, manifest: Object, status: Object) -> Object:
    """Create an object with a status; return it as the server keeps it."""
    if kind == JOB:
        manifest["spec"] = {
            "completions": 1,
            "parallelism": 1,
            **manifest["spec"],
            "managedBy": "finetune.dev/benchmark",
        }
    path = kind.path(manifest["metadata"]["namespace"])
    made = await _send(api, "POST", path, manifest, "application/json")
    content = "application/merge-patch+json"
    return (
        await _send(api, "PATCH", f"{path}/{manifest['metadata']['name']}/status", {"status": status}, content) or made
    )


async def _send(api: ApiClient, method: str, path: str, body: Object, content: str) -> Object:
    headers = {"Accept": "application/json", "Content-Type": content}
    request = await api.param_serialize(method, path, {}, [], headers, body, auth_settings=["BearerToken"])
    response = await api.call_api(*request, _request_timeout=60)
    answer: Object = json.loads(await response.read())
    if response.status >= 300:  # noqa: PLR2004 - neither a success nor anything else that was asked for
        raise ApiFailedError(f"{method} {path}: {response.status} {answer.get('message')}")
    return answer


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


def _pod_status(role: Role, address: str, ending: str) -> Object:
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": TIME, "finishedAt": TIME, "message": ending}
    state = {"terminated": ended} if ending else {"running": {"startedAt": TIME}}
    container = {
        "name": role.value,
        "image": "x",
        "imageID": "x",
        "restartCount": 0,
        "ready": not ending,
        "state": state,
    }
    return {
        "phase": "Succeeded" if ending else "Running",
        "startTime": TIME,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": TIME}],
        "containerStatuses": [container],
    }


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
