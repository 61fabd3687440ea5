# ruff: noqa: ANN401 - fields pass through to the models that check them
"""What tests of the operator begin with: a job, its children as they would be observed, and a moment in time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from finetune_api import keys
from finetune_api.contract import Progress, Role, RunResult
from finetune_api.reasons import Reason
from finetune_api.status import Condition, ConditionType, FinetuneJobStatus, ProgressStatus, RestartCounts
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.conditions import find_condition
from finetune_operator.core.decide import decide
from finetune_operator.core.decision import Decision
from finetune_operator.core.observed import (
    ClaimAnswer,
    ContainerView,
    JobView,
    Observed,
    PodView,
    ProgressReport,
    Termination,
)
from finetune_operator.core.platform import Platform

T0 = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)
PLATFORM = Platform(trainer_image="registry.example/trainer:1")
UID = "11111111-2222-3333-4444-555555555555"
NAME = "qwen"
BASE = "qwen-666ff6cc"


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def manifest(name: str = NAME, *, status: FinetuneJobStatus | None = None, **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FinetuneJob",
        "metadata": {"name": name, "namespace": "search", "uid": UID, "generation": 1, "resourceVersion": "7"},
        "spec": {
            "model": {"source": "hf://acme/base"},
            "data": {"train": [{"name": "vdr", "source": "hf://acme/vdr"}]},
            "publish": {"repository": "acme/better", "tokenSecret": {"name": "hub-token"}},
            "resources": {"nodes": 2},
            "storage": {"accessMode": "ReadWriteMany"},
            **spec,
        },
    }
    if status is not None:
        found["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def a_job(name: str = NAME, *, status: FinetuneJobStatus | None = None, **spec: Any) -> FinetuneJob:
    return FinetuneJob.model_validate(manifest(name, status=status, **spec))


def a_child(role: Role, *, attempt: int = 0, **fields: Any) -> JobView:
    name = f"{BASE}-{role.value}" + (f"-{attempt}" if attempt else "")
    num_pods = 2 if role == Role.TRAIN else 1
    return JobView(name=name, uid=f"uid-{name}", role=role, attempt=attempt, num_pods=num_pods, **fields)


def a_pod(role: Role, *, index: int = 0, attempt: int = 0, **fields: Any) -> PodView:
    name = f"{role.value}-{attempt}-{index}"
    own = [replace(one, name=role.value) if one.name == "main" else one for one in fields.pop("containers", ())]
    fields["containers"] = tuple(own)
    return PodView(name=name, uid=f"uid-{name}", role=role, attempt=attempt, index=index, node="node-1", **fields)


def ended(code: int, result: RunResult | None = None, *, seconds: float = 0, reason: str = "") -> tuple[ContainerView]:
    end = Termination(exit_code=code, result=result, finished_at=at(seconds), reason=reason)
    return (ContainerView(name="main", termination=end),)


def beside_a_sidecar(pod: PodView, code: int | None = None) -> PodView:
    """Return the pod with a container that the cluster put into it, which runs on unless it has ended with a code."""
    end = None if code is None else Termination(exit_code=code)
    sidecar = ContainerView(name="istio-proxy", running=code is None, termination=end)
    is_held = pod.phase == "Succeeded" or (pod.phase == "Failed" and code is None)
    return replace(pod, is_held=is_held, containers=(*pod.containers, sidecar))


def a_result(role: Role, reason: Reason, message: str = "", **fields: Any) -> RunResult:
    return RunResult(role=role, reason=reason, message=message, **fields)


def ranks(phase: str = "Running", *, attempt: int = 1, num: int = 2, **fields: Any) -> tuple[PodView, ...]:
    return tuple(a_pod(Role.TRAIN, index=index, attempt=attempt, phase=phase, **fields) for index in range(num))


def a_report(step: int, *, attempt: int = 1, **fields: Any) -> ProgressReport:
    progress = ProgressStatus(stage="Training", step=step, total_steps=100, percent=step)
    return ProgressReport(attempt=attempt, progress=Progress(attempt=attempt, progress=progress), **fields)


def look(job: FinetuneJob, observed: Observed | None = None, *, now: datetime = T0) -> Decision:
    """Return the decision after the job's claim was changed, where that comes first."""
    observed = observed or Observed()
    decision = decide(job, observed, now, platform=PLATFORM)
    if decision.change is None:
        return decision
    return look(job, replace(observed, claim=ClaimAnswer(state=decision.change.state)), now=now)


#: Mounted by the children of the plain job; other specs have others.
CONFIG = names.run_config(a_job())


def with_status(job: FinetuneJob, status: FinetuneJobStatus) -> FinetuneJob:
    return job.model_copy(update={"status": status})


def with_restarts(job: FinetuneJob, restarts: RestartCounts) -> FinetuneJob:
    return with_status(job, job.status.model_copy(update={"restarts": restarts}))


PREPARED = Observed(
    jobs=(a_child(Role.PREPARE, is_complete=True),),
    pods=(a_pod(Role.PREPARE, phase="Succeeded", containers=ended(0, a_result(Role.PREPARE, Reason.VALIDATED))),),
)


TRAINED = Observed(
    jobs=(*PREPARED.jobs, a_child(Role.TRAIN, attempt=1, is_complete=True)),
    pods=(*PREPARED.pods, *ranks("Succeeded", containers=ended(0, a_result(Role.TRAIN, Reason.TRAINED)))),
)


def while_training(**spec: Any) -> FinetuneJob:
    """Return the job once both ranks of its first attempt run."""
    job = a_job(**spec)
    queued = with_status(job, look(job, PREPARED).status)
    running = Observed(jobs=(*PREPARED.jobs, a_child(Role.TRAIN, attempt=1)), pods=(*PREPARED.pods, *ranks()))
    return with_status(job, look(queued, running).status)


def conditions(status: FinetuneJobStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


def condition(status: FinetuneJobStatus, kind: ConditionType) -> Condition:
    found = find_condition(status, kind)
    assert found is not None
    return found


def kinds(decision: Decision) -> list[str]:
    return [f"{item['kind']}/{item['metadata']['name']}" for item in decision.apply]


def raw_pod(role: Role, *, attempt: int = 0, index: int = 0, **status: Any) -> dict[str, Any]:
    """Return a Pod as the API server shows it."""
    labels = {
        keys.LABEL_JOB_UID: UID,
        keys.LABEL_ROLE: role.value,
        keys.LABEL_ATTEMPT: str(attempt),
        keys.LABEL_COMPLETION_INDEX: str(index),
    }
    job = f"{BASE}-{role.value}" + (f"-{attempt}" if role == Role.TRAIN or attempt else "")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": f"uid-{job}", "controller": True}
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{job}-{index}-x7k2q" if role == Role.TRAIN else f"{job}-x7k2q",
            "uid": f"pod-{role.value}-{attempt}-{index}",
            "namespace": "search",
            "labels": labels,
            "ownerReferences": [owner],
            "resourceVersion": "9",
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", "podIP": "127.0.0.1", **status},
    }


def raw_job(role: Role, *, attempt: int = 0, **status: Any) -> dict[str, Any]:
    """Return a Job as the API server shows it, which controls the pods that `raw_pod` returns."""
    (owner,) = raw_pod(role, attempt=attempt)["metadata"]["ownerReferences"]
    labels = {keys.LABEL_JOB_UID: UID, keys.LABEL_ROLE: role.value, keys.LABEL_ATTEMPT: str(attempt)}
    return {
        "kind": "Job",
        "metadata": {
            "name": owner["name"],
            "uid": owner["uid"],
            "namespace": "search",
            "labels": labels,
            "ownerReferences": [names.owner(a_job())],
            "resourceVersion": "8",
        },
        "spec": {},
        "status": status,
    }
