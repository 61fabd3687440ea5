# ruff: noqa: ANN401 - templates pass through to the models that check them
"""What job and administrator add to pods, and what stays the operator's."""

from typing import Any

import pytest

from finetune_api.contract import RunConfig
from finetune_api.pod_template import PodTemplates
from finetune_api.types import FinetuneJob
from finetune_operator.core.children.config_map import build_config_map
from finetune_operator.core.children.pod_group import build_pod_group, is_gang_scheduled
from finetune_operator.core.children.train_job import build_train_job
from finetune_operator.core.platform import Platform
from tests.api.pod_templates import EVERYTHING
from tests.operator.given import PLATFORM, a_job, look
from tests.operator.test_children import children

LOST = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
NODE_TERMS = "requiredDuringSchedulingIgnoredDuringExecution"


def pods(job: FinetuneJob, platform: Platform = PLATFORM) -> dict[str, dict[str, Any]]:
    """Return the pod specs by role."""
    jobs = [child for child in children(job, platform) if child["kind"] == "Job"]
    return {child["metadata"]["labels"]["finetune.dev/role"]: child["spec"]["template"]["spec"] for child in jobs}


def administered(**templates: Any) -> Platform:
    return Platform(trainer_image="trainer:1", pod_template=PodTemplates.model_validate(templates))


def toleration(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "Exists"}


def in_zone(zone: str) -> dict[str, Any]:
    return {"key": "zone", "operator": "In", "values": [zone]}


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {NODE_TERMS: {"nodeSelectorTerms": [{"matchExpressions": [term]} for term in terms]}}


@pytest.mark.parametrize("role", ["prepare", "train", "publish"])
def test_every_field_of_a_template_reaches_the_pod(role: str) -> None:
    job = a_job(podTemplate={role: EVERYTHING}, resources={"accelerator": {"perNode": 0}})

    built = {child["metadata"]["labels"].get("finetune.dev/role"): child for child in children(job, PLATFORM)}
    template = built[role]["spec"]["template"]
    spec, (container,) = template["spec"], template["spec"]["containers"]
    amounts = EVERYTHING["resources"]

    assert EVERYTHING["labels"].items() <= template["metadata"]["labels"].items()
    assert EVERYTHING["labels"].items() <= built[role]["metadata"]["labels"].items()
    assert EVERYTHING["annotations"].items() <= template["metadata"]["annotations"].items()
    assert spec["affinity"]["nodeAffinity"] == EVERYTHING["nodeAffinity"]
    assert EVERYTHING["securityContext"].items() <= spec["securityContext"].items()
    assert container["envFrom"] == EVERYTHING["envFrom"]
    for kind in ("requests", "limits"):
        assert amounts[kind].items() <= container["resources"][kind].items()
    for name in ("env", "volumeMounts"):
        assert all(item in container[name] for item in EVERYTHING[name])
    for name in ("volumes", "tolerations"):
        assert all(item in spec[name] for item in EVERYTHING[name])
    elsewhere = {"labels", "annotations", "nodeAffinity", "securityContext", "envFrom", "resources", "env"}
    elsewhere |= {"volumeMounts", "volumes", "tolerations"}
    plain = EVERYTHING.keys() - elsewhere
    assert {name: spec[name] for name in plain} == {name: EVERYTHING[name] for name in plain}


def test_the_containers_that_check_the_rights_get_the_same_variables_and_mounts() -> None:
    job = a_job(podTemplate={"all": {"env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example"}]}})

    (preflight,) = pods(job)["prepare"]["initContainers"]

    assert {"name": "HTTPS_PROXY", "value": "http://proxy.example"} in preflight["env"]


def test_what_is_nearer_to_the_pod_wins() -> None:
    layers = ("administrator, all", "administrator, train", "job, all", "job, train")
    values = [{"env": [{"name": name, "value": name} for name in layers[index:]]} for index in range(4)]
    for value, layer in zip(values, layers, strict=True):
        value["env"] = [one | {"value": layer} for one in value["env"]]
    job = a_job(podTemplate={"all": values[2], "train": values[3]})

    (container,) = pods(job, administered(all=values[0], train=values[1]))["train"]["containers"]

    assert {one["name"]: one["value"] for one in container["env"] if one["name"] in layers} == {
        name: name for name in layers
    }


def test_the_first_toleration_that_matches_is_the_users() -> None:
    own = {"key": LOST[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600}
    job = a_job(
        schedule={"tolerations": [toleration("schedule")]},
        podTemplate={"train": {"tolerations": [own]}, "all": {"tolerations": [toleration("job")]}},
    )

    train = pods(job, administered(all={"tolerations": [toleration("administrator")]}))["train"]

    assert train["tolerations"][0] == own
    assert [one["key"] for one in train["tolerations"]] == [LOST[0], "job", "schedule", "administrator", *LOST]


def test_who_tolerates_everything_does_not_wait_for_ever_on_a_lost_node() -> None:
    everything, evictions = {"operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}
    job = a_job(schedule={"tolerations": [everything]}, podTemplate={"all": {"tolerations": [evictions]}})

    found = pods(job, administered(all={"tolerations": [toleration("administrator"), everything]}))

    for pod in found.values():
        assert pod["tolerations"][-3:] == [evictions, everything, everything]
        assert [one["key"] for one in pod["tolerations"][:-3]][-2:] == LOST


def test_node_affinities_of_all_layers_hold() -> None:
    fast = {"key": "fast", "operator": "Exists"}
    job = a_job(podTemplate={"train": {"nodeAffinity": required(in_zone("a"), in_zone("b"))}})

    train = pods(job, administered(all={"nodeAffinity": required(fast)}))["train"]

    assert train["affinity"]["nodeAffinity"] == {
        NODE_TERMS: {
            "nodeSelectorTerms": [
                {"matchExpressions": [fast, in_zone("a")]},
                {"matchExpressions": [fast, in_zone("b")]},
            ]
        }
    }
    assert "podAntiAffinity" in train["affinity"]


@pytest.mark.parametrize("storage", [{}, {"accessMode": "ReadWriteOncePod"}])
@pytest.mark.parametrize("role", ["prepare", "publish"])
def test_the_pod_that_a_volume_for_one_node_is_made_for_runs_where_the_gang_may(
    role: str, storage: dict[str, str]
) -> None:
    only_training = {
        "nodeSelector": {"pool": "gpu"},
        "nodeAffinity": required(in_zone("a")),
        "tolerations": [toleration("pool")],
        "runtimeClassName": "nvidia",
    }
    job = a_job(storage=storage, resources={}, podTemplate={"train": only_training})

    pod = pods(job)[role]

    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["affinity"] == {"nodeAffinity": required(in_zone("a"))}
    assert [one["key"] for one in pod["tolerations"]] == ["pool", "nvidia.com/gpu", *LOST]
    assert "runtimeClassName" not in pod


@pytest.mark.parametrize("role", ["prepare", "publish"])
def test_where_any_node_sees_the_volume_only_training_runs_where_only_training_has_to(role: str) -> None:
    job = a_job(podTemplate={"train": {"nodeSelector": {"pool": "gpu"}, "nodeAffinity": required(in_zone("a"))}})

    pod = pods(job)[role]

    assert "nodeSelector" not in pod
    assert "affinity" not in pod
    assert [one["key"] for one in pod["tolerations"]] == LOST


@pytest.mark.parametrize("access_mode", ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"])
def test_the_schedule_is_that_of_all_pods_and_lets_them_onto_nodes_with_accelerators(access_mode: str) -> None:
    schedule = {"nodeSelector": {"kubernetes.io/arch": "amd64"}, "tolerations": [toleration("pool")]}
    job = a_job(storage={"accessMode": access_mode}, resources={}, schedule=schedule)

    found = pods(job)

    assert [pod["nodeSelector"] for pod in found.values()] == [schedule["nodeSelector"]] * 3
    for role in ("prepare", "publish"):
        assert [one["key"] for one in found[role]["tolerations"]] == ["pool", "nvidia.com/gpu", *LOST]


def test_a_role_may_leave_the_nodes_of_the_schedule() -> None:
    job = a_job(schedule={"nodeSelector": {"pool": "gpu"}}, podTemplate={"prepare": {"nodeSelector": {"pool": "cpu"}}})

    assert {role: pod["nodeSelector"]["pool"] for role, pod in pods(job).items()} == {
        "prepare": "cpu",
        "train": "gpu",
        "publish": "gpu",
    }


def test_ranks_on_the_nodes_network_still_find_each_other_by_name() -> None:
    assert pods(a_job(podTemplate={"train": {"hostNetwork": True}}))["train"]["dnsPolicy"] == "ClusterFirstWithHostNet"


def test_amounts_of_training_have_one_home() -> None:
    job = a_job(podTemplate={"train": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": 4}}}})

    (container,) = pods(job)["train"]["containers"]

    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi"},
        "limits": {"cpu": 4, "memory": "16Gi", "nvidia.com/gpu": "1"},
    }


def test_what_pods_are_like_is_no_part_of_what_is_trained_and_not_told_to_the_trainer() -> None:
    plain, templated = a_job(), a_job(podTemplate={"train": EVERYTHING})

    config = build_config_map(templated, platform=PLATFORM)

    assert config["data"] == build_config_map(plain, platform=PLATFORM)["data"]
    assert "podTemplate" not in config["data"]["run.json"]
    assert RunConfig(job=CONFIG.job, spec=templated.spec).spec_hash == CONFIG.spec_hash


CONFIG = RunConfig.model_validate_json(build_config_map(a_job(), platform=PLATFORM)["data"]["run.json"])


def test_a_template_that_came_past_the_api_server_is_refused_with_all_that_is_wrong() -> None:
    job = a_job(
        podTemplate={
            "train": {"env": [{"name": "PET_NNODES", "value": "9"}], "labels": {"finetune.dev/role": "x"}},
            "all": {"volumes": [{"name": "tmp", "emptyDir": {}}]},
        }
    )

    status = look(job).status

    assert (status.phase, status.conditions[0].reason) == ("Failed", "InvalidSpec")
    for path in ("all.volumes[0].name", "train.labels", "train.env[0].name"):
        assert f"spec.podTemplate.{path}: " in status.conditions[0].message


def test_a_gang_that_another_scheduler_places_has_no_pod_group_and_one_that_has_is_as_important_as_its_pods() -> None:
    platform = Platform(trainer_image="trainer:1", gang_scheduling="Auto")
    elsewhere = a_job(podTemplate={"train": {"schedulerName": "volcano"}})
    important = a_job(schedule={"priorityClassName": "low"}, podTemplate={"train": {"priorityClassName": "high"}})

    assert not is_gang_scheduled(elsewhere, platform=platform)
    assert is_gang_scheduled(important, platform=platform)
    assert build_pod_group(important, attempt=1, platform=platform)["spec"]["priorityClassName"] == "high"
    assert pods(important, platform)["train"]["priorityClassName"] == "high"


def test_a_node_that_is_avoided_is_so_besides_the_affinity_of_the_user() -> None:
    job = a_job(podTemplate={"train": {"nodeAffinity": required(in_zone("a"))}})

    plain, avoiding = (
        build_train_job(job, attempt=2, platform=PLATFORM, avoided_nodes=nodes)["spec"]["template"]["spec"]["affinity"]
        for nodes in ((), ("node-1",))
    )

    (wish,) = avoiding["nodeAffinity"].pop("preferredDuringSchedulingIgnoredDuringExecution")
    assert avoiding == plain
    assert wish["preference"]["matchExpressions"][0]["values"] == ["node-1"]
