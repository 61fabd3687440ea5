"""Views of Jobs and Pods, made from their manifests. What is not ours gives None.

Anybody may write anything into a manifest: what cannot be read raises whatever reading it raises.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from finetune_api import keys
from finetune_api.contract import Role, RunResult
from finetune_api.types import GROUP, KIND
from finetune_operator.core.observed import (
    NEVER_RAN,
    STATUS_UNKNOWN,
    ContainerView,
    JobView,
    PodView,
    Termination,
)
from finetune_operator.core.times import parse_time

Manifest = dict[str, Any]
WORDS_LENGTH = 400
#: Those of the API server itself: it waits for the pods.
OWN_FINALIZERS = ("foregroundDeletion", "orphan")


def job_view(manifest: Manifest) -> JobView | None:
    """Return what decisions need of a Job; None of one that no FinetuneJob controls, whatever its labels say."""
    controller = _controller(manifest["metadata"])
    if controller.get("kind") != KIND or not str(controller.get("apiVersion")).startswith(f"{GROUP}/"):
        return None
    identity = _identity(manifest["metadata"])
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    complete = _condition(status, "Complete", "SuccessCriteriaMet")
    failed = _condition(status, "Failed", "FailureTarget")
    end = complete or failed
    is_suspended = bool(spec.get("suspend"))
    return JobView(
        **identity,
        config=str((manifest["metadata"].get("annotations") or {}).get(keys.ANNOTATION_RUN_CONFIG, "")),
        num_pods=spec.get("parallelism", 1),
        is_gang_scheduled="schedulingGroup" in ((spec.get("template") or {}).get("spec") or {}),
        started_at=parse_time(status.get("startTime")),
        is_deleting="deletionTimestamp" in manifest["metadata"],
        gone_at=parse_time(manifest["metadata"].get("deletionTimestamp")),
        finalizers=tuple(one for one in manifest["metadata"].get("finalizers") or () if one not in OWN_FINALIZERS),
        is_suspended=is_suspended,
        held_since=_held_since(manifest["metadata"], status, is_suspended=is_suspended),
        is_complete=complete is not None,
        is_failed=failed is not None,
        failure=": ".join(filter(None, (failed.get("reason"), failed.get("message")))) if failed else "",
        finished_at=parse_time(end.get("lastTransitionTime")) if end else None,
    )


def pod_view(manifest: Manifest) -> PodView | None:
    """Return what decisions need of a Pod; None of one that something else than a Job controls."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if _controller(metadata).get("kind", "Job") != "Job":
        return None
    identity = _identity(metadata)
    containers = tuple(
        _container(entry)
        for entry in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    )
    phase = status.get("phase", "Pending")
    own_end = next((one.termination for one in containers if one.name == identity["role"]), None)
    own_phase = phase if own_end is None else "Failed" if own_end.exit_code else "Succeeded"
    scheduled = _condition(status, "PodScheduled") or {}
    unscheduled = _condition(status, "PodScheduled", value="False") or {}
    disruption = _condition(status, "DisruptionTarget") or {}
    gone_at = parse_time(metadata.get("deletionTimestamp"))
    return PodView(
        **identity,
        index=int(metadata["labels"].get(keys.LABEL_COMPLETION_INDEX, 0)),
        phase=own_phase,
        is_held=phase != own_phase and (phase == "Failed" or _has_company(status, identity["role"])),
        address=status.get("podIP", ""),
        node=(manifest.get("spec") or {}).get("nodeName", ""),
        gone_at=gone_at,
        left_at=gone_at and gone_at - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0),
        scheduled_at=parse_time(scheduled.get("lastTransitionTime")),
        unscheduled=_words(unscheduled) if unscheduled else "",
        unscheduled_since=parse_time(unscheduled.get("lastTransitionTime")),
        disruption=disruption.get("reason", ""),
        disruption_message=disruption.get("message", ""),
        is_unheard=_is_unheard(status),
        note=": ".join(filter(None, (status.get("reason"), status.get("message")))),
        containers=containers,
    )


def reduce_view(view: JobView | PodView) -> JobView | PodView:
    """Return the view without what only decisions about a living job need."""
    if isinstance(view, JobView):
        return replace(view, failure="")
    return replace(
        view,
        address="",
        unscheduled="",
        unscheduled_since=None,
        disruption="",
        disruption_message="",
        note="",
        containers=(),
    )


def labelled_uid(manifest: Manifest) -> str:
    """Return the uid of the FinetuneJob that a child's label names, which anybody may write; empty if none."""
    return str((manifest["metadata"].get("labels") or {}).get(keys.LABEL_JOB_UID, ""))


def _controller(metadata: Manifest) -> Manifest:
    """Return the reference to the object that controls this one; empty if none does."""
    return next((owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")), {})


def _identity(metadata: Manifest) -> dict[str, Any]:
    """Return the fields of a ChildView."""
    labels = metadata.get("labels") or {}
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata["uid"],
        "owner_uid": _controller(metadata).get("uid", ""),
        "resource_version": int(metadata.get("resourceVersion") or 0),
        "role": Role(labels[keys.LABEL_ROLE]),
        "attempt": int(labels.get(keys.LABEL_ATTEMPT) or 0),
    }


def _condition(status: Manifest, *types: str, value: str = "True") -> Manifest | None:
    """Return the first condition of these types that has this status."""
    found = {entry["type"]: entry for entry in status.get("conditions") or () if entry.get("status") == value}
    return next((found[name] for name in types if name in found), None)


def _held_since(metadata: Manifest, status: Manifest, *, is_suspended: bool) -> datetime | None:
    """Return when the Job controller suspended a Job that it has not resumed; one may be made so from the beginning."""
    suspended = _condition(status, "Suspended") or {}
    made = metadata.get("creationTimestamp") if is_suspended else None
    return parse_time(suspended.get("lastTransitionTime") or made)


def _words(unscheduled: Manifest) -> str:
    return str(unscheduled.get("message") or unscheduled.get("reason") or "no node found")


def _is_unheard(status: Manifest) -> bool:
    """Tell whether a pod is not ready although its containers are.

    A kubelet writes both conditions alike. The controller of nodes writes the first one alone, once a node is silent.
    https://github.com/kubernetes/kubernetes/blob/v1.36.0/pkg/controller/util/node/controller_utils.go
    """
    found = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    return found.get("Ready") == "False" and found.get("ContainersReady") == "True"


def _has_company(status: Manifest, role: str) -> bool:
    """Tell whether a container beside ours runs. Without one the pod ends by itself, a moment after our container."""
    beside = [entry for entry in status.get("containerStatuses") or () if entry["name"] != role]
    return any("running" in (entry.get("state") or {}) for entry in beside)


def _container(entry: Manifest) -> ContainerView:
    state = entry.get("state") or {}
    waiting = state.get("waiting") or {}
    terminated = state.get("terminated") or _lost(entry)
    return ContainerView(
        name=entry["name"],
        image_id=str(entry.get("imageID") or ""),
        running="running" in state,
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        termination=_termination(terminated) if terminated else None,
    )


def _lost(entry: Manifest) -> Manifest | None:
    """Return how a container ended that a kubelet does not find any more, as after a reboot of its node.

    It is told as one that is being created, with its end as an earlier one, until the kubelet looks again.
    https://github.com/kubernetes/kubernetes/blob/v1.37.0/pkg/kubelet/kubelet_pods.go
    """
    last = (entry.get("lastState") or {}).get("terminated")
    is_lost = last is not None and last.get("reason") == STATUS_UNKNOWN and "waiting" in (entry.get("state") or {})
    return last if is_lost else None


def _termination(terminated: Manifest) -> Termination:
    reason = terminated.get("reason", "")
    return Termination(
        exit_code=terminated["exitCode"],
        reason=reason,
        words=terminated.get("message", "")[:WORDS_LENGTH] if reason in NEVER_RAN else "",
        finished_at=parse_time(terminated.get("finishedAt")),
        result=_result(terminated.get("message", "")),
    )


def _result(message: str) -> RunResult | None:
    try:
        return RunResult.model_validate_json(message)
    except ValidationError:
        return None  # a crash before the trainer could write, or the log's end in its place
