import pytest
import yaml

from tests.chart.helm import CHART, NAMESPACE, RELEASE, Helm, Manifest, of_kind, only

Grant = tuple[str, str]

# What the operator may do, as (group/resource, verbs). Nothing is added here without a call that needs it.
OPERATOR = {
    ("finetune.dev/finetunejobs", "list watch"),
    ("finetune.dev/finetunejobs/status", "patch"),
    ("batch/jobs", "create delete get list watch"),
    ("/pods", "create delete list watch"),
    ("/configmaps", "create delete get"),
    ("/services", "create delete get"),
    ("/persistentvolumeclaims", "create delete get patch"),
    ("scheduling.k8s.io/podgroups", "create delete get"),
    ("kueue.x-k8s.io/workloads", "list"),
    ("/events", "list"),
    ("events.k8s.io/events", "create"),
}
EDITOR = {
    ("finetune.dev/finetunejobs", "create delete deletecollection get list patch update watch"),
    ("finetune.dev/finetunejobs/status", "get"),
}
VIEWER = {
    ("finetune.dev/finetunejobs", "get list watch"),
    ("finetune.dev/finetunejobs/status", "get"),
}


def grants(role: Manifest) -> set[Grant]:
    return {
        (f"{group}/{resource}", " ".join(sorted(rule["verbs"])))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_the_operator_is_granted_exactly_what_it_uses(defaults: list[Manifest]) -> None:
    roles = {role["metadata"]["name"]: grants(role) for role in of_kind(defaults, "ClusterRole")}

    assert roles == {
        RELEASE: OPERATOR,
        f"{RELEASE}-finetunejob-editor": EDITOR,
        f"{RELEASE}-finetunejob-viewer": VIEWER,
    }


def test_without_gang_scheduling_no_right_on_pod_groups_is_granted(helm: Helm) -> None:
    role = of_kind(helm.render({"gangScheduling": "Never"}), "ClusterRole")[0]

    assert OPERATOR - grants(role) == {("scheduling.k8s.io/podgroups", "create delete get")}


def test_without_reading_why_a_queue_holds_a_job_no_right_on_workloads_is_granted(helm: Helm) -> None:
    role = of_kind(helm.render({"queue": {"readWorkloads": False}}), "ClusterRole")[0]

    assert OPERATOR - grants(role) == {("kueue.x-k8s.io/workloads", "list")}


def test_no_role_has_a_wildcard_or_secrets(everything: list[Manifest]) -> None:
    roles = [*of_kind(everything, "ClusterRole"), *of_kind(everything, "Role")]

    granted = {word for role in roles for rule in role["rules"] for words in rule.values() for word in words}

    assert granted.isdisjoint({"*", "secrets", "pods/exec", "impersonate", "escalate", "bind"})


def test_users_with_view_and_edit_get_finetunejobs(defaults: list[Manifest]) -> None:
    aggregated = {
        role["metadata"]["name"].removeprefix(f"{RELEASE}-"): {
            label.removeprefix("rbac.authorization.k8s.io/aggregate-to-")
            for label, value in role["metadata"]["labels"].items()
            if label.startswith("rbac.authorization.k8s.io/") and value == "true"
        }
        for role in of_kind(defaults, "ClusterRole")
    }

    assert aggregated == {
        RELEASE: set(),
        "finetunejob-editor": {"edit", "admin"},
        "finetunejob-viewer": {"view"},
    }


@pytest.mark.parametrize("namespaces", [["search"], ["search", "shop"]])
def test_watched_namespaces_need_a_role_in_each_and_no_cluster_role(
    helm: Helm, defaults: list[Manifest], namespaces: list[str]
) -> None:
    manifests = helm.render({"watchNamespaces": namespaces, "rbac": {"aggregateToUserRoles": False}})

    roles, bindings = of_kind(manifests, "Role"), of_kind(manifests, "RoleBinding")
    (subjects,) = [one["subjects"] for one in of_kind(defaults, "ClusterRoleBinding")]
    assert [one["rules"] for one in roles] == [of_kind(defaults, "ClusterRole")[0]["rules"]] * len(namespaces)
    assert [one["metadata"]["namespace"] for one in roles] == namespaces
    assert [one["metadata"]["namespace"] for one in bindings] == namespaces
    assert [one["subjects"] for one in bindings] == [subjects] * len(namespaces)
    assert {(one["roleRef"]["kind"], one["roleRef"]["name"]) for one in bindings} == {("Role", RELEASE)}
    assert of_kind(manifests, "ClusterRole") == of_kind(manifests, "ClusterRoleBinding") == []


@pytest.mark.parametrize("values", [{}, {"serviceAccount": {"create": False, "name": "given"}}])
def test_pod_and_binding_name_the_same_service_account(helm: Helm, values: dict[str, dict[str, object]]) -> None:
    manifests = helm.render(values)

    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    (subject,) = only(manifests, "ClusterRoleBinding")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": NAMESPACE}


def test_without_rbac_no_role_is_created(helm: Helm) -> None:
    manifests = helm.render({"rbac": {"create": False, "aggregateToUserRoles": False}})

    kinds = {manifest["kind"] for manifest in manifests}
    assert kinds == {"CustomResourceDefinition", "ServiceAccount", "Service", "Deployment", "Pod"}


def test_releases_for_two_namespaces_share_no_object(helm: Helm) -> None:
    def objects(namespace: str, *, is_first: bool) -> set[tuple[str, ...]]:
        values = {"watchNamespaces": [namespace], "crds": {"install": is_first}, "replicas": 2}
        rendered = helm.run("template", f"finetune-{namespace}", CHART, "--namespace", "platform", values=values)
        metadata = [(one["kind"], one["metadata"]) for one in yaml.safe_load_all(rendered) if one]
        return {(kind, one.get("namespace", ""), one["name"]) for kind, one in metadata}

    search, shop = objects("search", is_first=True), objects("shop", is_first=False)

    assert search & shop == set()
    assert len(search) == len(shop) + 1
