"""The environment as settings."""

import json

import pytest

from finetune_api.pod_template import PodSecurity, PodTemplate, PodTemplates
from finetune_operator.settings import Settings, SettingsError, read_settings

FULL = {
    "TRAINER_IMAGE": "registry.example/trainer:1",
    "TRAINER_IMAGE_PULL_POLICY": "Always",
    "TRAINER_IMAGE_PULL_SECRETS": "one, two",
    "HF_ENDPOINT": "http://hub.example",
    "GANG_SCHEDULING": "Never",
    "SIMULATED_ACCELERATOR": "true",
    "HUB_JOB_CPU_REQUEST": "1",
    "HUB_JOB_MEMORY_REQUEST": "2Gi",
    "HUB_JOB_MEMORY_LIMIT": "4Gi",
    "POD_SECURITY": '{"runAsUser": 1000}',
    "POD_TEMPLATE": '{"all": {"runtimeClassName": "nvidia"}}',
    "WATCH_NAMESPACES": "search, shop",
    "PROGRESS_POLL_SECONDS": "2.5",
    "PROGRESS_STATUS_SECONDS": "15",
    "PROGRESS_WRITES_PER_SECOND": "50",
    "RESYNC_SECONDS": "60",
    "WORKERS": "8",
    "HTTP_PORT": "9090",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "debug",
    "POD_NAME": "operator-0",
}


def test_every_setting_is_read_from_the_variable_of_its_name() -> None:
    assert read_settings(FULL) == Settings(
        trainer_image="registry.example/trainer:1",
        trainer_image_pull_policy="Always",
        trainer_image_pull_secrets=("one", "two"),
        hf_endpoint="http://hub.example",
        gang_scheduling="Never",
        simulated_accelerator=True,
        hub_job_cpu_request="1",
        hub_job_memory_request="2Gi",
        hub_job_memory_limit="4Gi",
        pod_security=PodSecurity(run_as_user=1000),
        pod_template=PodTemplates(all=PodTemplate(runtime_class_name="nvidia")),
        watch_namespaces=("search", "shop"),
        progress_poll_seconds=2.5,
        progress_status_seconds=15.0,
        progress_writes_per_second=50.0,
        resync_seconds=60.0,
        workers=8,
        http_port=9090,
        log_format="json",
        log_level="debug",
        pod_name="operator-0",
    )


def test_empty_variables_count_as_absent() -> None:
    settings = read_settings({"TRAINER_IMAGE": "a", "WORKERS": "", "HF_ENDPOINT": " "})

    assert (settings.workers, settings.hf_endpoint) == (32, "")


def test_everything_wrong_is_told_at_once() -> None:
    wrong = {"WORKERS": "many", "HTTP_PORT": "0", "SIMULATED_ACCELERATOR": "maybe", "LOG_FORMAT": "xml"}

    with pytest.raises(SettingsError) as caught:
        read_settings(wrong)

    assert str(caught.value).splitlines() == [
        "SIMULATED_ACCELERATOR: 'maybe' is wrong because it is neither true nor false",
        "WORKERS: 'many' is wrong because it is no number",
        "HTTP_PORT: '0' is wrong because it is not above zero",
        "LOG_FORMAT: 'xml' is wrong because it is none of json, plain, auto",
        "TRAINER_IMAGE: '' is wrong because jobs need an image; give the trainer image's reference",
    ]


def test_templates_that_cannot_be_used_are_refused_with_the_path_of_everything_that_is_wrong() -> None:
    wrong = {"all": {"env": [{"name": "PET_NNODES", "value": "2"}]}, "train": {"labels": {"finetune.dev/job": "x"}}}
    unknown = {"train": {"command": ["sh"], "volumes": [{"name": "host", "hostPath": {}}]}}

    with pytest.raises(SettingsError) as touched:
        read_settings({"TRAINER_IMAGE": "a", "POD_TEMPLATE": json.dumps(wrong)})
    with pytest.raises(SettingsError) as not_there:
        read_settings({"TRAINER_IMAGE": "a", "POD_TEMPLATE": json.dumps(unknown), "POD_SECURITY": '{"runAsUser": 0}'})

    assert [line.partition(":")[0] for line in str(touched.value).splitlines()] == [
        "podTemplate.all.env[0].name",
        "podTemplate.train.labels",
    ]
    assert [line.partition(":")[0] for line in str(not_there.value).splitlines()] == [
        "podTemplate.train.volumes[0].hostPath",
        "podTemplate.train.command",
        "podSecurity.runAsUser",
    ]
