"""Children as whole manifests. With REGENERATE_GOLDEN=1 in the environment the golden files are written anew."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api.contract import RunConfig
from finetune_api.pod_template import PodSecurity, PodTemplates
from finetune_api.status import FinetuneJobStatus, ModelStatus, Phase
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.pod_group import build_pod_group, is_gang_scheduled
from finetune_operator.core.children.prepare_job import build_prepare_job
from finetune_operator.core.children.publish_job import build_publish_job
from finetune_operator.core.children.service import build_service
from finetune_operator.core.children.track_job import build_live_track_job, build_track_job
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.children.volume_claim import build_volume_claim
from finetune_operator.core.platform import Platform
from tests.operator.given import BASE, PLATFORM, UID, a_job, with_status

GOLDEN = Path(__file__).parent / "golden"

PLAIN = a_job(publish=None, resources={}, storage={})
FULL = a_job(
    model={"source": "pvc://models/qwen"},
    hub={"tokenSecret": {"name": "hub-read"}},
    buckets={"secretName": "company-s3"},
    data={
        "train": [
            {"name": "vdr", "source": "pvc://pages/train"},
            {"name": "more", "source": "s3://company/pages"},
        ],
        "evaluation": [{"name": "held-out", "source": "pvc://pages/test", "columns": {}}],
    },
    resources={
        "nodes": 4,
        "accelerator": {"name": "nvidia.com/gpu", "perNode": 8},
        "requests": {"cpu": "90", "memory": "900Gi"},
        "sharedMemory": "64Gi",
    },
    storage={"existingClaim": "scratch", "subPath": "team/qwen"},
    schedule={
        "queueName": "gpu-queue",
        "priorityClassName": "low",
        "nodeSelector": {"pool": "h200"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    },
    image="registry.example/mine:2",
    tracking={"wandb": {"project": "search", "secretName": "wandb"}},
)
IN_BUCKETS = a_job(
    model={"source": "s3://company/models/base"},
    buckets={"secretName": "reader"},
    publish={"bucket": "s3://company/models/better", "secretName": "writer"},
)
IN_REGISTRY = a_job(publish={"registry": "oci://registry.example/team/better:v1", "secretName": "login"})
GANG = a_job(schedule={"priorityClassName": "low"})
GANG_SCHEDULED = Platform(trainer_image="registry.example/trainer:1", gang_scheduling="Auto")
ADMINISTERED = Platform(
    trainer_image="registry.example/trainer:1",
    trainer_image_pull_policy="Always",
    trainer_image_pull_secrets=("pull",),
    hf_endpoint="http://hub.example",
    gang_scheduling="Auto",
    simulated_accelerator=True,
    hub_job_memory_limit="4Gi",
)
ADDED = a_job(
    storage={},
    resources={},
    schedule={"nodeSelector": {"pool": "h200"}, "tolerations": [{"key": "pool", "operator": "Exists"}]},
    podTemplate={
        "all": {
            "labels": {"cost-centre": "search"},
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.search:3128"}],
            "volumes": [{"name": "ca-bundle", "configMap": {"name": "company-ca"}}],
            "volumeMounts": [{"name": "ca-bundle", "mountPath": "/etc/ssl/company", "readOnly": True}],
        },
        "prepare": {"resources": {"requests": {"cpu": "4", "memory": "16Gi"}}},
        "train": {
            "env": [{"name": "OMP_NUM_THREADS", "value": "2"}],
            "resources": {"limits": {"cpu": "4", "rdma/ib": 1}},
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
                }
            },
            "runtimeClassName": "nvidia",
            "terminationGracePeriodSeconds": 600,
        },
    },
)
WITH_DEFAULTS = Platform(
    trainer_image="registry.example/trainer:1",
    pod_template=PodTemplates.model_validate(
        {
            "all": {
                "env": [
                    {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"},
                    {"name": "NO_PROXY", "value": ".svc"},
                ],
                "imagePullSecrets": [{"name": "registry"}],
            },
            "train": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}},
        }
    ),
    pod_security=PodSecurity(),
)


class WholeDumper(yaml.SafeDumper):
    """Writes shared parts out each time: people read these files."""

    def ignore_aliases(self, _: object) -> bool:
        return True


def children(job: FinetuneJob, platform: Platform) -> list[dict[str, Any]]:
    built = [
        build_config_map(job, platform=platform),
        build_volume_claim(job),
        build_service(job),
        build_prepare_job(job, platform=platform),
        build_train_job(job, attempt=2, platform=platform),
    ]
    if job.spec.publish is not None:
        built.append(build_publish_job(job, job.spec.publish, platform=platform))
    if job.spec.tracking is not None:
        status = FinetuneJobStatus(phase=Phase.SUCCEEDED, attempt=2, completion_time="2026-11-23T10:00:00Z")
        training = FinetuneJobStatus(phase=Phase.TRAINING, attempt=2, start_time="2026-11-23T09:00:00Z")
        built += [
            build_live_track_job(job, job.spec.tracking, training, run="5eed-c0de", platform=platform),
            build_track_job(job, job.spec.tracking, status, platform=platform),
        ]
    return built


@pytest.mark.parametrize(
    ("name", "job", "platform"),
    [("plain", PLAIN, PLATFORM), ("full", FULL, ADMINISTERED), ("added", ADDED, WITH_DEFAULTS)],
)
def test_children_are_as_in_the_golden_file(name: str, job: FinetuneJob, platform: Platform) -> None:
    text = yaml.dump_all(children(job, platform), Dumper=WholeDumper, sort_keys=False, width=120)
    file = GOLDEN / f"{name}.yaml"

    if os.environ.get("REGENERATE_GOLDEN"):
        file.write_text(text)

    assert text == file.read_text()


@pytest.mark.parametrize(
    ("storage", "path", "sub_path"),
    [
        ({"accessMode": "ReadWriteMany"}, "/workspace", None),
        ({"existingClaim": "models"}, f"/workspace/.finetune/search/{BASE}", None),
        ({"existingClaim": "models", "subPath": "team/qwen"}, "/workspace", "team/qwen"),
        ({"existingClaim": "models", "subPath": "."}, "/workspace", None),
    ],
)
def test_every_role_works_in_the_jobs_own_folder_of_its_volume(
    storage: dict[str, str], path: str, sub_path: str | None
) -> None:
    for child in children(a_job(storage=storage), PLATFORM):
        if child["kind"] == "Job":
            (container,) = child["spec"]["template"]["spec"]["containers"]
            (mount,) = [one for one in container["volumeMounts"] if one["name"] == "workspace"]
            (found,) = [one["value"] for one in container["env"] if one["name"] == "FINETUNE_WORKSPACE"]
            assert (found, mount["mountPath"], mount.get("subPath")) == (path, "/workspace", sub_path)


@pytest.mark.parametrize(
    ("checkpoint_bytes", "template", "seconds"),
    [
        (None, None, 50),
        (200_000_000, None, 50),
        (26_000_000_000, None, 154),
        (26_000_000_000, {"train": {"terminationGracePeriodSeconds": 60}}, 60),
        (10**13, None, 3600),
    ],
)
def test_ranks_are_given_the_time_to_save_a_checkpoint_of_the_size_that_prepare_found(
    checkpoint_bytes: int | None, template: dict[str, Any] | None, seconds: int
) -> None:
    status = FinetuneJobStatus(model=ModelStatus(checkpoint_bytes=checkpoint_bytes))
    job = with_status(a_job(podTemplate=template), status)

    pod_spec = build_train_job(job, attempt=1, platform=PLATFORM)["spec"]["template"]["spec"]

    assert pod_spec["terminationGracePeriodSeconds"] == seconds


def test_a_gang_is_scheduled_and_preempted_as_a_whole_by_a_pod_group_of_its_own() -> None:
    group = build_pod_group(GANG, attempt=2, platform=GANG_SCHEDULED)
    job = build_train_job(GANG, attempt=2, platform=GANG_SCHEDULED)

    assert group == {
        "apiVersion": "scheduling.k8s.io/v1beta1",
        "kind": "PodGroup",
        "metadata": {
            "name": f"{BASE}-train-2",
            "namespace": "search",
            "labels": names.labels(GANG, attempt=2),
            "ownerReferences": [names.owner(GANG)],
        },
        "spec": {
            "schedulingPolicy": {"gang": {"minCount": 2}},
            "disruptionMode": {"all": {}},
            "priorityClassName": "low",
        },
    }
    assert job["spec"]["template"]["spec"]["schedulingGroup"] == {"podGroupName": group["metadata"]["name"]}


@pytest.mark.parametrize(
    ("job", "platform"),
    [(GANG, PLATFORM), (PLAIN, GANG_SCHEDULED), (FULL, GANG_SCHEDULED)],
    ids=["switched off or not offered", "one node", "a queue decides"],
)
def test_without_need_of_a_pod_group_there_is_none(job: FinetuneJob, platform: Platform) -> None:
    spec = build_train_job(job, attempt=1, platform=platform)["spec"]["template"]["spec"]

    assert (is_gang_scheduled(job, platform=platform), "schedulingGroup" in spec) == (False, False)


def test_the_config_map_carries_what_the_trainer_reads_back() -> None:
    text = build_config_map(FULL, platform=ADMINISTERED)["data"]["run.json"]

    found = RunConfig.model_validate_json(text)

    untold = {"buckets", "storage", "schedule", "image", "tracking"}
    assert found.spec.model_dump(exclude=untold) == FULL.spec.model_dump(exclude=untold)
    assert (found.simulated_accelerator, found.job.name) == (True, "qwen")


def test_the_config_map_tells_the_trainer_nothing_that_an_older_one_need_not_know() -> None:
    told = json.loads(build_config_map(PLAIN, platform=PLATFORM)["data"]["run.json"])

    assert told == {
        "version": 1,
        "job": {"namespace": "search", "name": "qwen", "uid": UID},
        "spec": {
            "model": {"source": "hf://acme/base"},
            "data": {"train": [{"name": "vdr", "source": "hf://acme/vdr"}]},
        },
    }


def test_keys_of_buckets_are_files_of_the_containers_that_need_them_alone() -> None:
    built = children(IN_BUCKETS, PLATFORM)
    pods = [child["spec"]["template"]["spec"] for child in built if child["kind"] == "Job"]
    containers = [one for pod in pods for one in (*pod.get("initContainers", ()), *pod["containers"])]

    seen = {
        one["name"]: [mount["name"] for mount in one["volumeMounts"] if "bucket" in mount["name"]] for one in containers
    }
    secrets = {volume["name"]: volume["secret"] for pod in pods for volume in pod["volumes"] if "secret" in volume}

    assert seen == {"preflight": ["write-bucket"], "prepare": ["read-bucket"], "train": [], "publish": ["write-bucket"]}
    assert secrets == {
        "read-bucket": {"secretName": "reader", "defaultMode": 0o440},
        "write-bucket": {"secretName": "writer", "defaultMode": 0o440},
    }


def test_the_login_for_a_registry_is_a_file_of_the_containers_that_publish_alone() -> None:
    pods = [child["spec"]["template"]["spec"] for child in children(IN_REGISTRY, PLATFORM) if child["kind"] == "Job"]
    containers = [one for pod in pods for one in (*pod.get("initContainers", ()), *pod["containers"])]

    seen = {one["name"] for one in containers if any(mount["name"] == "write-bucket" for mount in one["volumeMounts"])}
    secrets = {volume["name"]: volume["secret"] for pod in pods for volume in pod["volumes"] if "secret" in volume}

    assert seen == {"preflight", "publish"}
    assert secrets == {"write-bucket": {"secretName": "login", "defaultMode": 0o440}}


@pytest.mark.parametrize("job", [PLAIN, FULL, IN_BUCKETS, IN_REGISTRY])
def test_no_token_is_in_any_environment_and_none_is_near_the_training_pods(job: FinetuneJob) -> None:
    for child in children(job, ADMINISTERED):
        if child["kind"] == "Job":
            spec = child["spec"]["template"]["spec"]
            containers = [*spec.get("initContainers", ()), *spec["containers"]]
            assert not any("secretKeyRef" in str(container["env"]) for container in containers)

    training = next(child for child in children(job, ADMINISTERED) if "-train-" in child["metadata"]["name"])
    assert "secret" not in {kind for volume in training["spec"]["template"]["spec"]["volumes"] for kind in volume}


@pytest.mark.parametrize("cpu", ["500m", "1", "8", "9"])
def test_threads_are_shared_among_the_processes_of_a_node(cpu: str) -> None:
    job = a_job(resources={"accelerator": {"perNode": 4}, "requests": {"cpu": cpu}})

    (container,) = build_train_job(job, attempt=1, platform=PLATFORM)["spec"]["template"]["spec"]["containers"]

    threads = next(entry["value"] for entry in container["env"] if entry["name"] == "OMP_NUM_THREADS")
    assert threads == {"500m": "1", "1": "1", "8": "2", "9": "2"}[cpu]


def test_training_without_accelerators_asks_for_none() -> None:
    job = a_job(resources={"accelerator": {"perNode": 0}})

    (container,) = build_train_job(job, attempt=1, platform=PLATFORM)["spec"]["template"]["spec"]["containers"]

    assert container["resources"] == {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi"}}


@pytest.mark.parametrize(
    ("is_for_all", "roles"),
    [(False, ["train"]), (True, ["prepare", "train", "publish", "track"])],
    ids=["default", "all"],
)
def test_the_administrator_says_which_jobs_wait_in_the_queue(roles: list[str], *, is_for_all: bool) -> None:
    platform = replace(ADMINISTERED, queue_all_roles=is_for_all)
    schedule = FULL.spec.schedule.model_copy(update={"queue_priority_class_name": "low"})
    job = FULL.model_copy(update={"spec": FULL.spec.model_copy(update={"schedule": schedule})})

    found = {
        child["metadata"]["labels"]["finetune.dev/role"]: {
            key: value for key, value in child["metadata"]["labels"].items() if "kueue" in key
        }
        for child in children(job, platform)
        if child["kind"] == "Job"
    }

    labels = {"kueue.x-k8s.io/queue-name": "gpu-queue", "kueue.x-k8s.io/priority-class": "low"}
    assert {role: found[role] for role in found if found[role]} == dict.fromkeys(roles, labels)


def test_prepare_and_publish_try_for_hours_and_not_for_ever() -> None:
    job = a_job(prepareTimeoutSeconds=7200, publishTimeoutSeconds=3600)
    found = {
        child["metadata"]["labels"]["finetune.dev/role"]: child["spec"]
        for child in children(job, PLATFORM)
        if child["kind"] == "Job"
    }

    limits = {role: (spec["backoffLimit"], spec.get("activeDeadlineSeconds")) for role, spec in found.items()}
    assert limits == {"prepare": (24, 7200), "train": (0, None), "publish": (24, 3600)}
