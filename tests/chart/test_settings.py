"""The chart's values reach the operator: the rendered environment is read by the operator's own Settings."""

from dataclasses import fields

from finetune_api.pod_template import PodSecurity, PodTemplate, PodTemplates
from finetune_operator.settings import Settings, read_settings
from tests.chart.helm import RELEASE, Helm, Manifest, only

# Set by the pod itself, not by values.
BY_THE_POD = [
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
]
# The port is the same in Service, probes and container: there is nothing to choose.
FIXED = {"http_port"}
#: No sidecars of a mesh, and no training that is ended to tidy up.
BY_DEFAULT = PodTemplates(
    all=PodTemplate(labels={"sidecar.istio.io/inject": "false"}, annotations={"linkerd.io/inject": "disabled"}),
    train=PodTemplate(
        annotations={
            "karpenter.sh/do-not-disrupt": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        }
    ),
)


def environment(manifests: list[Manifest]) -> list[dict[str, object]]:
    (container,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return list(container["env"])


def settings_in_pod(manifests: list[Manifest]) -> Settings:
    values = {str(item["name"]): str(item["value"]) for item in environment(manifests) if "value" in item}
    return read_settings({**values, "POD_NAME": "pod", "POD_NAMESPACE": "system"})


def test_the_pod_gets_every_setting_and_nothing_else(defaults: list[Manifest]) -> None:
    known = {field.name for field in fields(Settings)} - FIXED

    names = [item["name"] for item in environment(defaults)]

    assert sorted(map(str, names)) == sorted(name.upper() for name in known)
    assert [item for item in environment(defaults) if "valueFrom" in item] == BY_THE_POD


def test_default_values_are_the_operator_s_defaults_but_for_json_logs(defaults: list[Manifest]) -> None:
    expected = Settings(
        trainer_image="registry.example/finetune-trainer:0.1.0",
        pod_template=BY_DEFAULT,
        log_format="json",
        pod_name="pod",
        pod_namespace="system",
    )

    assert settings_in_pod(defaults) == expected


def test_every_setting_can_be_changed_by_values(helm: Helm) -> None:
    expected = Settings(
        trainer_image="registry.example/trainer:abc",
        trainer_image_pull_policy="Always",
        trainer_image_pull_secrets=("one", "two"),
        hf_endpoint="https://hub.example",
        gang_scheduling="Never",
        queue_all_roles=True,
        simulated_accelerator=True,
        hub_job_cpu_request="1",
        hub_job_memory_request="2Gi",
        hub_job_memory_limit="4Gi",
        pod_security=PodSecurity(run_as_user=1000),
        pod_template=PodTemplates(train=PodTemplate(runtime_class_name="nvidia")),
        watch_namespaces=("search", "shop"),
        progress_poll_seconds=7,
        progress_status_seconds=20,
        progress_writes_per_second=5,
        resync_seconds=60,
        workers=2,
        log_format="plain",
        log_level="debug",
        pod_name="pod",
        pod_namespace="system",
        lease_name=RELEASE,
    )
    unchanged = {item.name for item in fields(Settings) if getattr(expected, item.name) == item.default}

    manifests = helm.render(
        {
            "trainerImage": {
                "repository": "registry.example/trainer",
                "tag": "abc",
                "pullPolicy": "Always",
                "pullSecrets": ["one", "two"],
            },
            "hub": {"endpoint": "https://hub.example"},
            "gangScheduling": "Never",
            "queue": {"allRoles": True},
            "simulatedAccelerator": True,
            "hubJobs": {"cpuRequest": 1, "memoryRequest": "2Gi", "memoryLimit": "4Gi"},
            "podSecurity": {"runAsUser": 1000, "runAsGroup": None, "fsGroup": None},
            "podTemplate": {"all": None, "train": {"annotations": None, "runtimeClassName": "nvidia"}},
            "watchNamespaces": ["search", "shop"],
            "progress": {"pollSeconds": 7, "statusSeconds": 20, "writesPerSecond": 5},
            "resyncSeconds": 60,
            "replicas": 2,
            "workers": 2,
            "logFormat": "plain",
            "logLevel": "debug",
        }
    )

    assert unchanged == FIXED
    assert settings_in_pod(manifests) == expected
