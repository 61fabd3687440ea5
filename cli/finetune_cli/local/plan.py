"""What a local run does: the job as this machine can run it, and where everything lies."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_api.contract import JobIdentity, Role, RunConfig
from finetune_api.reasons import Reason
from finetune_api.sources import ClaimSource, parse_source
from finetune_api.types import GROUP, FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_cli.local.devices import Devices
from finetune_cli.manifest.checking import Job
from finetune_cli.manifest.documents import join
from finetune_trainer.workspace.failures import RunFailure

DEFAULT_FOLDER = Path("build") / "finetune"
_CLAIM = "pvc://"


@dataclass(frozen=True)
class Plan:
    """One local run."""

    config: RunConfig
    workspace: Workspace
    claims: Mapping[str, Path]
    """Folders of this machine by the volume claim that they stand for."""
    publishes: bool
    notes: tuple[str, ...]

    @property
    def roles(self) -> list[Role]:
        """Return what is run, in this order."""
        roles = [Role.PREPARE, Role.TRAIN]
        return [Role.PREFLIGHT, *roles, Role.PUBLISH] if self.publishes else roles

    @property
    def own(self) -> Path:
        """Return the folder of the workspace for what only a local run has."""
        return self.workspace.root / "local"

    @property
    def config_file(self) -> Path:
        """Return where the run's config lies; it also says which manifest the workspace belongs to."""
        return self.own / "run.json"

    @property
    def claim_mounts(self) -> Path:
        """Return the folder with a link per volume claim."""
        return self.own / "claims"

    def log(self, role: Role, *, attempt: int, rank: int = 0) -> Path:
        """Return the log of a role; in training, of a rank of this attempt."""
        return self.workspace.rank_log(attempt, rank) if role is Role.TRAIN else self.workspace.role_log(role)


def local_config(job: Job, devices: Devices) -> RunConfig:
    """Return the job with this machine's devices for resources; equal names give equal runs, so that they resume."""
    on_cpu = 0 if devices.processes == 1 else devices.processes
    per_node = devices.processes if devices.on_accelerator else on_cpu
    resources = job.spec.resources
    accelerator = resources.accelerator.model_copy(update={"per_node": per_node})
    resources = resources.model_copy(update={"nodes": 1, "min_nodes": None, "accelerator": accelerator})
    uid = uuid.uuid5(uuid.NAMESPACE_URL, f"{GROUP}/local/{job.namespace}/{job.name}")
    return RunConfig(
        job=JobIdentity(namespace=job.namespace, name=job.name, uid=str(uid)),
        spec=job.spec.model_copy(update={"resources": resources}),
        trains_anyway=True,  # whoever runs it here wants the model here
        simulated_accelerator=not devices.on_accelerator,
        in_pods=False,
    )


def check_claims(spec: FinetuneJobSpec, claims: Mapping[str, Path]) -> None:
    """Fail with InvalidArgument unless every `pvc://` source of the spec has a folder that is there."""
    wrong = [
        f"--claim: {name}={folder} is wrong because there is no such folder; name a folder of this machine"
        for name, folder in claims.items()
        if not folder.is_dir()
    ]
    content = spec.model_dump(mode="json", by_alias=True)
    for path, source in _claim_sources(content, "spec"):
        if source.claim not in claims:
            wrong.append(
                f"{path}: {_CLAIM}{source.claim} is wrong because this machine has no volume claims; "
                f"add --claim {source.claim}=FOLDER"
            )
    if wrong:
        raise RunFailure(Reason.INVALID_ARGUMENT, "\n".join(wrong))


def _claim_sources(value: Any, path: str) -> list[tuple[str, ClaimSource]]:  # noqa: ANN401 - JSON
    """Return every source on a volume claim with its field path."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _claim_sources(item, join(path, key))]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _claim_sources(item, join(path, index))]
    if isinstance(value, str) and value.startswith(_CLAIM) and path.endswith(".source"):
        source = parse_source(value)
        return [(path, source)] if isinstance(source, ClaimSource) else []
    return []
