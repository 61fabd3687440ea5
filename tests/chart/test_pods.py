from typing import Any

import pytest

from tests.chart.helm import EVERYTHING, NAMESPACE, RELEASE, Helm, Manifest, merged, only

DIGEST = f"sha256:{'0' * 64}"


def pod_of(manifests: list[Manifest]) -> dict[str, Any]:
    pod: dict[str, Any] = only(manifests, "Deployment")["spec"]["template"]["spec"]
    return pod


def operator_of(manifests: list[Manifest]) -> dict[str, Any]:
    (container,) = pod_of(manifests)["containers"]
    return dict(container)


def test_the_pod_meets_the_restricted_profile(defaults: list[Manifest]) -> None:
    pod = pod_of(defaults)

    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert "initContainers" not in pod
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & pod.keys()
    assert all("hostPort" not in port for port in pod["containers"][0]["ports"])


def test_nothing_but_a_small_tmp_is_writable_or_mounted(defaults: list[Manifest]) -> None:
    pod = pod_of(defaults)

    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    assert pod["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_two_operators_without_a_lease_never_run_at_once(defaults: list[Manifest]) -> None:
    spec = only(defaults, "Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert {"name": "LEASE_NAME", "value": ""} in operator_of(defaults)["env"]


def test_replicas_share_a_lease_that_they_may_write(helm: Helm) -> None:
    manifests = helm.render({"replicas": 2})

    spec = only(manifests, "Deployment")["spec"]
    role, binding = only(manifests, "Role"), only(manifests, "RoleBinding")
    assert (spec["replicas"], spec["strategy"]) == (2, {"type": "Recreate"})
    assert {"name": "LEASE_NAME", "value": RELEASE} in operator_of(manifests)["env"]
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert role["rules"] == [
        leases | {"verbs": ["create"]},
        leases | {"resourceNames": [RELEASE], "verbs": ["get", "update"]},
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == NAMESPACE


def test_a_drain_takes_replicas_one_by_one_and_a_single_operator_at_once(helm: Helm, defaults: list[Manifest]) -> None:
    budget = only(helm.render({"replicas": 2}), "PodDisruptionBudget")["spec"]

    selector = only(defaults, "Deployment")["spec"]["selector"]
    assert budget == {"maxUnavailable": 1, "selector": selector}
    assert [one for one in defaults if one["kind"] == "PodDisruptionBudget"] == []


def test_every_object_of_a_release_has_the_common_labels_and_the_name_that_is_chosen(helm: Helm) -> None:
    manifests = helm.render(
        merged(EVERYTHING, {"replicas": 2, "commonLabels": {"team": "search"}, "fullnameOverride": "finetuner"})
    )

    own = [one for one in manifests if one["kind"] != "CustomResourceDefinition"]
    assert {one["metadata"]["labels"]["team"] for one in own} == {"search"}
    assert {one["metadata"]["name"].removeprefix("finetuner").partition("-")[0] for one in own} == {""}
    assert only(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]["team"] == "search"


def test_more_variables_come_after_the_charts_own(helm: Helm, defaults: list[Manifest]) -> None:
    proxy = [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}, {"name": "NO_PROXY", "value": ".svc"}]

    env = operator_of(helm.render({"extraEnv": proxy}))["env"]

    assert env == [*operator_of(defaults)["env"], *proxy]


def test_the_test_pod_is_restricted_and_no_backend_of_the_service(defaults: list[Manifest]) -> None:
    test, selector = only(defaults, "Pod"), only(defaults, "Service")["spec"]["selector"]

    assert not selector.items() <= test["metadata"]["labels"].items()
    (container,), operator = test["spec"]["containers"], pod_of(defaults)
    assert test["spec"]["securityContext"] == operator["securityContext"]
    assert [container[name] for name in ("image", "securityContext")] == [
        operator_of(defaults)[name] for name in ("image", "securityContext")
    ]


def test_the_probes_ask_the_named_port(defaults: list[Manifest]) -> None:
    container = operator_of(defaults)

    asked = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}

    assert asked == {
        "startupProbe": {"path": "/healthz", "port": "http"},
        "livenessProbe": {"path": "/healthz", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]


def test_the_service_selects_the_pod_by_labels_that_users_cannot_change(helm: Helm) -> None:
    manifests = helm.render({"podLabels": {"app.kubernetes.io/name": "mine", "team": "search"}})

    labels = only(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selector = only(manifests, "Service")["spec"]["selector"]
    assert selector.items() <= labels.items()
    assert only(manifests, "Deployment")["spec"]["selector"] == {"matchLabels": selector}
    assert labels["team"] == "search"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "registry.example/finetune-operator:0.1.0"),
        ({"tag": "abc"}, "registry.example/finetune-operator:abc"),
        ({"tag": "abc", "digest": DIGEST}, f"registry.example/finetune-operator@{DIGEST}"),
        ({"repository": "127.0.0.1:5000/operator", "tag": "1"}, "127.0.0.1:5000/operator:1"),
    ],
)
def test_a_digest_wins_over_a_tag_and_a_tag_over_the_version(helm: Helm, image: dict[str, str], expected: str) -> None:
    manifests = helm.render({"image": image})

    assert operator_of(manifests)["image"] == expected


@pytest.mark.parametrize(
    "placement",
    [
        {"priorityClassName": "system-cluster-critical"},
        {"nodeSelector": {"pool": "system"}},
        {"tolerations": [{"key": "dedicated", "operator": "Equal", "value": "system", "effect": "NoSchedule"}]},
        {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
        {"imagePullSecrets": [{"name": "registry"}]},
    ],
    ids=lambda placement: next(iter(placement)),
)
def test_placement_values_reach_the_pod(helm: Helm, placement: dict[str, Any]) -> None:
    pod = pod_of(helm.render(placement))

    assert placement.items() <= pod.items()


def test_resources_can_be_changed_one_by_one(helm: Helm, defaults: list[Manifest]) -> None:
    change = {"limits": {"memory": "512Mi"}}

    resources = operator_of(helm.render({"resources": change}))["resources"]

    assert operator_of(defaults)["resources"] == {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"memory": "256Mi"},
    }
    assert resources == merged(operator_of(defaults)["resources"], change)


def test_annotations_are_added_to_the_pod(helm: Helm) -> None:
    manifests = helm.render({"podAnnotations": {"team": "search"}})

    annotations = only(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"kubectl.kubernetes.io/default-container": "operator", "team": "search"}
