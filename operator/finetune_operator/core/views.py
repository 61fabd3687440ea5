"""Views of Jobs and Pods, made from their manifests. What is not ours or cannot be read gives None."""

from typing import Any

from pydantic import ValidationError

from finetune_api import keys
from finetune_api.contract import Role, RunResult
from finetune_operator.core.observed import ContainerView, JobView, PodView, Termination
from finetune_operator.core.times import parse_time

Manifest = dict[str, Any]


def job_view(manifest: Manifest) -> JobView | None:
    """Return what decisions need of a Job."""
    identity = _identity(manifest["metadata"])
    if identity is None:
        return None
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    complete = _condition(status, "Complete", "SuccessCriteriaMet")
    failed = _condition(status, "Failed", "FailureTarget")
    end = complete or failed
    return JobView(
        **identity,
        num_pods=spec.get("parallelism", 1),
        started_at=parse_time(status.get("startTime")),
        is_deleting="deletionTimestamp" in manifest["metadata"],
        is_suspended=bool(spec.get("suspend")),
        is_complete=complete is not None,
        is_failed=failed is not None,
        failure=": ".join(filter(None, (failed.get("reason"), failed.get("message")))) if failed else "",
        finished_at=parse_time(end.get("lastTransitionTime")) if end else None,
    )


def pod_view(manifest: Manifest) -> PodView | None:
    """Return what decisions need of a Pod."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    identity = _identity(metadata)
    if identity is None:
        return None
    scheduled = _condition(status, "PodScheduled") or {}
    disruption = _condition(status, "DisruptionTarget") or {}
    return PodView(
        **identity,
        index=int(metadata["labels"].get(keys.LABEL_COMPLETION_INDEX, 0)),
        phase=status.get("phase", "Pending"),
        address=status.get("podIP", ""),
        node=(manifest.get("spec") or {}).get("nodeName", ""),
        gone_at=parse_time(metadata.get("deletionTimestamp")),
        scheduled_at=parse_time(scheduled.get("lastTransitionTime")),
        unscheduled=_unscheduled(status),
        disruption=disruption.get("reason", ""),
        disruption_message=disruption.get("message", ""),
        note=": ".join(filter(None, (status.get("reason"), status.get("message")))),
        containers=tuple(
            _container(entry)
            for entry in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        ),
    )


def owner_uid(manifest: Manifest) -> str:
    """Return the uid of the FinetuneJob that a child says it belongs to; empty if none."""
    return str((manifest["metadata"].get("labels") or {}).get(keys.LABEL_JOB_UID, ""))


def _identity(metadata: Manifest) -> dict[str, Any] | None:
    """Return the fields of a ChildView, or None of what is no child."""
    labels = metadata.get("labels") or {}
    role, attempt = labels.get(keys.LABEL_ROLE), labels.get(keys.LABEL_ATTEMPT, "")
    if role not in {known.value for known in Role}:
        return None
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata["uid"],
        "resource_version": int(metadata.get("resourceVersion") or 0),
        "role": Role(role),
        "attempt": int(attempt) if attempt.isdecimal() else 0,
    }


def _condition(status: Manifest, *types: str) -> Manifest | None:
    """Return the first condition of these types that is True."""
    found = {entry["type"]: entry for entry in status.get("conditions") or () if entry.get("status") == "True"}
    return next((found[name] for name in types if name in found), None)


def _unscheduled(status: Manifest) -> str:
    for entry in status.get("conditions") or ():
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return str(entry.get("message") or entry.get("reason") or "no node found")
    return ""


def _container(entry: Manifest) -> ContainerView:
    state = entry.get("state") or {}
    waiting = state.get("waiting") or {}
    terminated = state.get("terminated")
    return ContainerView(
        name=entry["name"],
        running="running" in state,
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        termination=_termination(terminated) if terminated else None,
    )


def _termination(terminated: Manifest) -> Termination:
    return Termination(
        exit_code=terminated["exitCode"],
        reason=terminated.get("reason", ""),
        finished_at=parse_time(terminated.get("finishedAt")),
        result=_result(terminated.get("message", "")),
    )


def _result(message: str) -> RunResult | None:
    try:
        return RunResult.model_validate_json(message)
    except ValidationError:
        return None  # a crash before the trainer could write, or the log's end in its place
