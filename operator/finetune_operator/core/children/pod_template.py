"""Pods with what administrator and job add to them, merged by the keys that Kubernetes merges by.

Layers come the weakest first: the administrator's for all roles and for this one, spec.schedule, the job's for all
roles and for this one. What would touch what is the operator's is refused before, see `finetune_api.pod_checks`.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from finetune_api.contract import Role
from finetune_api.pod_template import PodTemplate, PodTemplates
from finetune_api.types import FinetuneJob
from finetune_operator.core.platform import Platform

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
#: Fields of which the last layer that has one decides.
SINGLE = (
    *("runtimeClassName", "schedulerName", "priorityClassName", "serviceAccountName"),
    *("hostNetwork", "dnsConfig", "terminationGracePeriodSeconds"),
)
#: Lists, and the field by which an item takes the place of another one.
KEYED = {"imagePullSecrets": "name", "resourceClaims": "name", "hostAliases": "ip"}

Fields = dict[str, Any]


def customise(child: Fields, job: FinetuneJob, role: Role, *, platform: Platform) -> Fields:
    """Return a Job with the additions of every layer to its pods, and their labels on itself, too."""
    child = copy.deepcopy(child)
    layers = [one.model_dump(mode="json", by_alias=True, exclude_defaults=True) for one in _layers(job, role, platform)]
    template = child["spec"]["template"]
    for metadata, kind in ((child["metadata"], "labels"), (template["metadata"], "labels")):
        metadata[kind] = _united(layers, kind) | metadata[kind]
    if annotations := _united(layers, "annotations") | template["metadata"].get("annotations", {}):
        template["metadata"]["annotations"] = annotations
    _add_to_pod(template["spec"], layers)
    for container in (*template["spec"].get("initContainers", ()), *template["spec"]["containers"]):
        _add_to_container(container, layers, is_training=role is Role.TRAIN)
    return child


def chosen(job: FinetuneJob, role: Role, field: str, *, platform: Platform) -> Any:  # noqa: ANN401 - of any field
    """Return what the last layer that has the field says, None if none has it."""
    found = [getattr(layer, field) for layer in _layers(job, role, platform)]
    return next((value for value in reversed(found) if value is not None), None)


def _layers(job: FinetuneJob, role: Role, platform: Platform) -> Iterator[PodTemplate]:
    schedule = job.spec.schedule
    # A volume for one node is often made where its first pod runs, which is prepare: there the gang has to fit.
    follows = role is not Role.TRAIN and job.spec.storage.access_mode != "ReadWriteMany"
    yield from _of_role(platform.pod_template, role, follows=follows)
    yield PodTemplate(
        node_selector=schedule.node_selector,
        tolerations=schedule.tolerations,
        priority_class_name=schedule.priority_class_name if role is Role.TRAIN else None,
    )
    yield from _of_role(job.spec.pod_template, role, follows=follows)


def _of_role(templates: PodTemplates | None, role: Role, *, follows: bool) -> Iterator[PodTemplate]:
    if templates is None:
        return
    train = templates.train
    if follows and train is not None:
        train = PodTemplate(
            node_selector=train.node_selector, node_affinity=train.node_affinity, tolerations=train.tolerations
        )
        yield from (one for one in (templates.all, train) if one is not None)
    elif templates.all is not None:
        yield templates.all
    own: PodTemplate | None = getattr(templates, role.value)
    if own is not None:
        yield own


def _add_to_pod(spec: Fields, layers: Sequence[Fields]) -> None:
    for layer in layers:
        spec |= {name: layer[name] for name in SINGLE if name in layer}
        spec["securityContext"] = spec["securityContext"] | layer.get("securityContext", {})
        for name, key in KEYED.items():
            _add_items(spec, name, layer.get(name, []), key)
    _add_items(spec, "topologySpreadConstraints", _listed(layers, "topologySpreadConstraints"))
    spec["volumes"] = _keyed([*_listed(layers, "volumes"), *spec["volumes"]], "name")
    _add_tolerations(spec, _listed(layers[::-1], "tolerations"))
    if selector := spec.get("nodeSelector", {}) | _united(layers, "nodeSelector"):
        spec["nodeSelector"] = selector
    affinities = [layer["nodeAffinity"] for layer in layers if "nodeAffinity" in layer]
    if affinities:
        own = spec.get("affinity", {}).get("nodeAffinity", {})
        spec["affinity"] = spec.get("affinity", {}) | {"nodeAffinity": _all_of([own, *affinities])}
    if spec.get("hostNetwork"):
        spec["dnsPolicy"] = "ClusterFirstWithHostNet"  # else ranks would not know each other's names


def _add_tolerations(spec: Fields, theirs: Sequence[Fields]) -> None:
    """Add tolerations before ours, as the first that matches a taint counts: the user's, then the administrator's.

    Those of every taint come last: whoever tolerates everything does not mean to wait for ever for a lost node.
    """
    every = [one for one in theirs if one.get("operator") == "Exists" and not one.get("key")]
    named = [one for one in theirs if one not in every]
    spec["tolerations"] = [*named, *spec.get("tolerations", []), *every]


def _add_to_container(container: Fields, layers: Sequence[Fields], *, is_training: bool) -> None:
    container["env"] = _keyed([*container["env"], *_listed(layers, "env")], "name")
    _add_items(container, "envFrom", _listed(layers, "envFrom"))
    mounts = [*_listed(layers, "volumeMounts"), *container["volumeMounts"]]
    container["volumeMounts"] = _keyed(mounts, "mountPath")
    resources, theirs = container["resources"], [layer.get("resources", {}) for layer in layers]
    for kind in ("requests", "limits"):
        ours, added = resources.get(kind, {}), _united(theirs, kind)
        if amounts := added | ours if is_training else ours | added:
            resources[kind] = amounts
    _add_items(resources, "claims", _listed(theirs, "claims"), "name")


def _united(layers: Sequence[Fields], name: str) -> Fields:
    return {key: value for layer in layers for key, value in layer.get(name, {}).items()}


def _listed(layers: Sequence[Fields], name: str) -> list[Fields]:
    return [item for layer in layers for item in layer.get(name, [])]


def _keyed(items: Sequence[Fields], key: str) -> list[Fields]:
    """Return the items; of those with an equal key the last, where the first was."""
    return list({item[key]: item for item in items}.values())


def _add_items(node: Fields, name: str, items: Sequence[Fields], key: str = "") -> None:
    """Add to a list that is absent where it would be empty."""
    if items:
        found = [*node.get(name, []), *items]
        node[name] = _keyed(found, key) if key else found


def _all_of(affinities: Sequence[Fields]) -> Fields:
    """Return the node affinity that holds where all do. Of the terms of one, one must hold: each is put with each."""
    terms: list[Fields] = [{}]
    for affinity in affinities:
        if more := affinity.get(REQUIRED, {}).get("nodeSelectorTerms"):
            terms = [_both(one, other) for one in terms for other in more]
    preferred = _listed(affinities, PREFERRED)
    required = {REQUIRED: {"nodeSelectorTerms": terms}} if terms != [{}] else {}
    return {**required, **({PREFERRED: preferred} if preferred else {})}


def _both(one: Fields, other: Fields) -> Fields:
    return {key: [*one.get(key, []), *other.get(key, [])] for key in dict.fromkeys((*one, *other))}
