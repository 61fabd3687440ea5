"""The ConfigMap that carries RunConfig to every trainer container."""

import json
from typing import Any

from finetune_api import workspace
from finetune_api.contract import JobIdentity, RunConfig
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.platform import Platform

UNTOLD = {*names.OPERATORS_OWN, "buckets", "schedule", "image", "pod_template"}
FILE_NAME = workspace.RUN_CONFIG.rpartition("/")[2]


def build_config_map(job: FinetuneJob, *, platform: Platform) -> dict[str, Any]:
    """Return the immutable ConfigMap; what a running child was given cannot change under it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(job, names.run_config(job)),
        "immutable": True,
        "data": {FILE_NAME: _as_told(run_config(job, platform=platform))},
    }


def _as_told(config: RunConfig) -> str:
    """Return the JSON that every trainer reads which knows what the job asks for, of an older release, too.

    Defaults are left out, and so is what no trainer reads: a field that it does not know would have to be refused.
    """
    content = config.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"spec": UNTOLD})
    return json.dumps({"version": config.version, **content}, indent=2)


def run_config(job: FinetuneJob, *, platform: Platform) -> RunConfig:
    """Return what trainer containers are told about the job."""
    return RunConfig(
        job=JobIdentity(namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid),
        spec=job.spec,
        trains_anyway=job.status.reruns > 0,
        simulated_accelerator=platform.simulated_accelerator,
    )
