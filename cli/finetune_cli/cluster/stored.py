"""A FinetuneJob as the API server holds it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from finetune_api import __version__
from finetune_api.contract import ExitCode, exit_code_of
from finetune_api.reasons import Reason
from finetune_api.status import Condition, ConditionType, FinetuneJobStatus, Phase
from finetune_cli.cluster.refusal import RefusalError

Manifest = dict[str, Any]
FINISHED = (Phase.SUCCEEDED, Phase.FAILED)


@dataclass(frozen=True)
class StoredJob:
    """The object, and its status as this release reads it. The spec may be one of a newer release."""

    manifest: Manifest
    status: FinetuneJobStatus

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.manifest["metadata"]["uid"])

    @property
    def title(self) -> str:
        """Return how it is called in sentences."""
        return f"{self.namespace}/{self.name}"

    @property
    def created(self) -> datetime:
        return datetime.fromisoformat(self.manifest["metadata"]["creationTimestamp"])

    @property
    def phase(self) -> Phase:
        """Return where it is; Pending until an operator has seen it."""
        return self.status.phase or Phase.PENDING

    @property
    def is_finished(self) -> bool:
        return self.phase in FINISHED

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a job that has ended: that of the role that ended it. A failure never has 0."""
        if self.phase is Phase.SUCCEEDED:
            return ExitCode.SUCCESS
        summary = self.condition(ConditionType.SUCCEEDED)
        reason = summary.reason if summary is not None else ""
        code = exit_code_of(Reason(reason)) if reason in set(Reason) else ExitCode.INTERNAL_ERROR
        return code or ExitCode.INTERNAL_ERROR

    @property
    def metric(self) -> str:
        """Return the metric that decides."""
        return str(self.part("evaluation").get("metric", "score"))

    def part(self, name: str) -> Manifest:
        """Return a part of the spec; empty if it is not there."""
        return self.manifest["spec"].get(name) or {}

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of that type, or None."""
        return next((one for one in self.status.conditions if one.type == kind), None)


def read_stored(manifest: Manifest) -> StoredJob:
    """Return the job; fails if another release has written what this one does not know."""
    try:
        status = FinetuneJobStatus.model_validate(manifest.get("status") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(map(str, ("status", *first["loc"])))
        metadata = manifest["metadata"]
        text = (
            f"{metadata['namespace']}/{metadata['name']}: {path} is {first['input']!r}, which finetune {__version__} "
            "does not know; install the finetune of the operator's release"
        )
        raise RefusalError(text, ExitCode.CLUSTER_UNAVAILABLE) from error
    return StoredJob(manifest, status)


def read_partly(manifest: Manifest) -> StoredJob:
    """Return the job without those fields of its status that this release does not know."""
    status = manifest.get("status") or {}
    try:
        return StoredJob(manifest, FinetuneJobStatus.model_validate(status))
    except ValidationError as error:
        unknown = {one["loc"][0] for one in error.errors(include_url=False)}
    known = {name: value for name, value in status.items() if name not in unknown}
    return StoredJob(manifest, FinetuneJobStatus.model_validate(known))
