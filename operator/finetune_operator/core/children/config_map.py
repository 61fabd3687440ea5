"""The ConfigMap that carries RunConfig to every trainer container."""

from typing import Any

from finetune_api import workspace
from finetune_api.contract import JobIdentity, RunConfig
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.platform import Platform

#: What pods are like is nothing that containers know of.
NOT_TOLD = {"spec": {"pod_template": True}}
FILE_NAME = workspace.RUN_CONFIG.rpartition("/")[2]


def build_config_map(job: FinetuneJob, *, platform: Platform) -> dict[str, Any]:
    """Return the immutable ConfigMap; what a running child was given cannot change under it."""
    config = run_config(job, platform=platform)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(job, names.run_config(job)),
        "immutable": True,
        "data": {FILE_NAME: config.model_dump_json(by_alias=True, indent=2, exclude=NOT_TOLD)},
    }


def run_config(job: FinetuneJob, *, platform: Platform) -> RunConfig:
    """Return what trainer containers are told about the job."""
    return RunConfig(
        job=JobIdentity(namespace=job.metadata.namespace, name=job.metadata.name, uid=job.metadata.uid),
        spec=job.spec,
        simulated_accelerator=platform.simulated_accelerator,
    )
