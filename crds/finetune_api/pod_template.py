"""What may be added to the pods of a job: in spec.podTemplate, and by the administrator for all jobs below that.

A field has the name that Kubernetes gives it in a Pod, its metadata or its container. What is not here is the
operator's: command, image, restart policy, the rest of the security context, probes, further containers.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from finetune_api.base import Contract
from finetune_api.fields import MOUNT_PATH_PATTERN, OBJECT_NAME_PATTERN, rule, rules
from finetune_api.quantities import QUANTITY_PATTERN

OUR_VARIABLES = (
    "^(FINETUNE_|PET_|TORCHELASTIC_|(LOCAL_)?(RANK|WORLD_SIZE)$|MASTER_(ADDR|PORT)$"
    "|(HF_HUB|HF_DATASETS|TRANSFORMERS)_OFFLINE$|HF_TOKEN|HF_OIDC_|HUGGING_?FACE_HUB_TOKEN$)"
)
OUR_PATHS = "^/(tmp$|dev/?$|(workspace|sources|etc/finetune|(var/)?run/finetune|dev/shm|dev/termination-log)(/|$))"
OUR_VOLUMES = "^(config|tmp|workspace|shared-memory|(read|write)-(token|bucket)|tracking|source-[0-9]+)$"
OUR_LABELS = ("job-name", "controller-uid", "app.kubernetes.io/name", "app.kubernetes.io/managed-by")
OUR_PREFIXES = ("finetune.dev/", "batch.kubernetes.io/")
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

VARIABLE_FIX = (
    "this variable is the operator's, which tells a container by it what to do; Hub tokens are files, see "
    "hub.tokenSecret and publish.tokenSecret"
)
PATH_FIX = "the operator mounts a volume of the job's own there; mount it elsewhere, for example at /cache"
VOLUME_FIX = "the operator has a volume of this name; choose another, for example ca-bundle"
SOURCE_FIX = (
    "give the volume exactly one source: configMap, secret, persistentVolumeClaim, emptyDir, ephemeral, csi, "
    "downwardAPI or projected; folders of the node are not to be had"
)
LABEL_FIX = "labels of finetune.dev and of Jobs are the operator's; the queue is schedule.queueName"
ANNOTATION_FIX = "annotations of finetune.dev are the operator's"
AMOUNT_FIX = (
    "CPU and memory that training asks for, and its memory limit, are in spec.resources.requests; here only prepare, "
    "publish and track have them"
)
ACCELERATOR_FIX = "accelerators decide how many processes train; say spec.resources.accelerator.perNode"

Open = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
ObjectName = Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, max_length=253)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]
Amount = Annotated[
    Annotated[int, Field(ge=0)] | Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN, max_length=32)],
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "minimum": 0,
        }
    ),
]
Amounts = Annotated[dict[str, Amount], Field(max_length=16)]
UserId = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _keyed(*names: str) -> dict[str, Any]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(names)}


class ObjectReference(Contract):
    """An object of the job's namespace."""

    name: ObjectName
    """Its name."""
    optional: bool | None = None
    """True if it may be missing."""


class KeyReference(ObjectReference):
    """One key of a ConfigMap or Secret of the job's namespace."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """The key."""


class ValueSource(Contract):
    """Where the value of a variable comes from."""

    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""
    secret_key_ref: KeyReference | None = None
    """A key of a Secret."""
    field_ref: Open | None = None
    """A field of the pod."""
    resource_field_ref: Open | None = None
    """An amount that the container asks for."""


class Variable(Contract):
    """One environment variable."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule(f"!self.name.matches('{OUR_VARIABLES}')", VARIABLE_FIX, field=".name"))
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=8192)] | None = None
    """Its value."""
    value_from: ValueSource | None = None
    """Where the value comes from."""


class VariablesFrom(Contract):
    """Variables of all keys of a ConfigMap or Secret. What the operator sets itself wins over them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(f"!has(self.prefix) || !self.prefix.matches('{OUR_VARIABLES}')", VARIABLE_FIX, field=".prefix")
        )
    )

    prefix: Annotated[str, StringConstraints(max_length=256)] | None = None
    """What their names begin with."""
    config_map_ref: ObjectReference | None = None
    """The ConfigMap."""
    secret_ref: ObjectReference | None = None
    """The Secret."""


class ClaimUse(Contract):
    """A resource claim that the container uses."""

    name: ObjectName
    """Name in resourceClaims."""
    request: Annotated[str, StringConstraints(max_length=253)] | None = None
    """One of its requests; all if absent."""


class PodResources(Contract):
    """What a container asks for."""

    requests: Amounts = Field(default_factory=dict)
    """Amounts that are asked for."""
    limits: Amounts = Field(default_factory=dict)
    """Most that may be used; of extended resources, such as rdma/ib, this is enough."""
    claims: Annotated[list[ClaimUse], Field(max_length=8, json_schema_extra=_keyed("name"))] = Field(
        default_factory=list
    )
    """Resource claims that are used."""


class ProjectedSource(Contract):
    """A part of a projected volume. Tokens of ServiceAccounts are not mounted."""

    config_map: Open | None = None
    """A ConfigMap."""
    secret: Open | None = None
    """A Secret."""
    downward_api: Annotated[Open | None, Field(alias="downwardAPI")] = None
    """Fields of the pod."""
    cluster_trust_bundle: Open | None = None
    """Certificates."""


class Projected(Contract):
    """Several sources in one folder."""

    sources: Annotated[list[ProjectedSource], Field(max_length=8)]
    """The sources."""
    default_mode: int | None = None
    """Mode of the files."""


#: The kinds that Pod Security's restricted profile allows.
_SOURCES = (
    *("configMap", "secret", "persistentVolumeClaim", "emptyDir"),
    *("ephemeral", "csi", "downwardAPI", "projected"),
)
_GIVEN = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in _SOURCES)


class Volume(Contract):
    """A volume with one source."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(f"!self.name.matches('{OUR_VOLUMES}')", VOLUME_FIX, field=".name"),
            rule(f"{_GIVEN} == 1", SOURCE_FIX),
        )
    )

    name: Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, max_length=63)]
    """Name of the volume."""
    config_map: Open | None = None
    """A ConfigMap of the job's namespace."""
    secret: Open | None = None
    """A Secret of the job's namespace."""
    persistent_volume_claim: Open | None = None
    """A claim of the job's namespace."""
    empty_dir: Open | None = None
    """An empty folder of the pod's own."""
    ephemeral: Open | None = None
    """A claim of the pod's own."""
    csi: Open | None = None
    """A volume of a driver."""
    downward_api: Annotated[Open | None, Field(alias="downwardAPI")] = None
    """Fields of the pod."""
    projected: Projected | None = None
    """Several sources in one folder."""

    @property
    def num_sources(self) -> int:
        """How many sources are given."""
        return len(self.model_fields_set - {"name"})


class VolumeMount(Contract):
    """Where a volume is seen."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(f"!self.mountPath.matches('{OUR_PATHS}')", PATH_FIX, field=".mountPath"),
            rule(f"!self.name.matches('{OUR_VOLUMES}')", VOLUME_FIX, field=".name"),
        )
    )

    name: Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, max_length=63)]
    """Name of the volume."""
    mount_path: Annotated[str, StringConstraints(pattern=MOUNT_PATH_PATTERN, max_length=512)]
    """Path in the container."""
    sub_path: Annotated[str, StringConstraints(max_length=512)] | None = None
    """Folder or file of the volume."""
    read_only: bool | None = None
    """True if nothing may be written."""


class NodeSelectorTerm(Contract):
    """What a node must be like; all of it."""

    match_expressions: Annotated[list[Open], Field(max_length=16)] = Field(default_factory=list)
    """Conditions on its labels."""
    match_fields: Annotated[list[Open], Field(max_length=16)] = Field(default_factory=list)
    """Conditions on its fields."""


class NodeSelector(Contract):
    """Terms, of which one must hold."""

    node_selector_terms: Annotated[list[NodeSelectorTerm], Field(min_length=1, max_length=8)]
    """The terms."""


class NodeAffinity(Contract):
    """On which nodes pods must, or had better, run."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """What must be. Of several templates all must hold."""
    preferred_during_scheduling_ignored_during_execution: Annotated[list[Open], Field(max_length=16)] = Field(
        default_factory=list
    )
    """What is preferred."""


class PodSecurity(Contract):
    """As whom containers run. The rest of the security context is that of Pod Security's restricted profile."""

    run_as_user: UserId | None = None
    """User id, not 0."""
    run_as_group: UserId | None = None
    """Group id, not 0."""
    fs_group: UserId | None = None
    """Group that volumes are given to."""
    supplemental_groups: Annotated[list[UserId], Field(max_length=16)] = Field(default_factory=list)
    """Further groups."""


class ResourceClaim(Contract):
    """A claim of dynamic resource allocation."""

    name: Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, max_length=63)]
    """Name in this pod."""
    resource_claim_name: ObjectName | None = None
    """A ResourceClaim that exists."""
    resource_claim_template_name: ObjectName | None = None
    """A ResourceClaimTemplate, of which each pod gets a claim."""


class HostAlias(Contract):
    """Names of an address, as in /etc/hosts."""

    ip: Annotated[str, StringConstraints(min_length=2, max_length=45)]
    """The address."""
    hostnames: Annotated[list[Annotated[str, StringConstraints(max_length=253)]], Field(max_length=16)]
    """Its names."""


_NOT_OURS = " && ".join(f"!key.startsWith('{prefix}')" for prefix in OUR_PREFIXES)
_OUR_LABELS = ", ".join(f"'{label}'" for label in (*OUR_LABELS, QUEUE_LABEL))


class PodTemplate(Contract):
    """What is added to pods, and to the trainer's containers in them."""

    labels: Annotated[
        dict[str, LabelValue],
        Field(
            max_length=32,
            json_schema_extra=rules(rule(f"self.all(key, {_NOT_OURS} && !(key in [{_OUR_LABELS}]))", LABEL_FIX)),
        ),
    ] = Field(default_factory=dict)
    """Labels of the pods and of their Job."""
    annotations: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=16_384)]],
        Field(
            max_length=32,
            json_schema_extra=rules(rule(f"self.all(key, !key.startsWith('{OUR_PREFIXES[0]}'))", ANNOTATION_FIX)),
        ),
    ] = Field(default_factory=dict)
    """Annotations of the pods."""
    env: Annotated[list[Variable], Field(max_length=64, json_schema_extra=_keyed("name"))] = Field(default_factory=list)
    """Environment variables."""
    env_from: Annotated[list[VariablesFrom], Field(max_length=8)] = Field(default_factory=list)
    """ConfigMaps and Secrets whose keys become variables."""
    resources: PodResources | None = None
    """Amounts besides those of spec.resources: extended resources, ephemeral-storage, hugepages, limits of CPU. Of
    prepare, publish and track also CPU and memory."""
    volumes: Annotated[list[Volume], Field(max_length=16, json_schema_extra=_keyed("name"))] = Field(
        default_factory=list
    )
    """Volumes."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=16, json_schema_extra=_keyed("mountPath"))] = Field(
        default_factory=list
    )
    """Where they are seen."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    """Labels that a node must have, besides schedule.nodeSelector."""
    node_affinity: NodeAffinity | None = None
    """On which nodes the pods must, or had better, run."""
    tolerations: Annotated[list[Open], Field(max_length=32)] = Field(default_factory=list)
    """Tolerations, before those of schedule.tolerations; the first that matches a taint counts."""
    topology_spread_constraints: Annotated[list[Open], Field(max_length=8)] = Field(default_factory=list)
    """How pods are spread."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass, for example nvidia."""
    scheduler_name: ObjectName | None = None
    """Scheduler."""
    priority_class_name: ObjectName | None = None
    """PriorityClass, in place of schedule.priorityClassName."""
    service_account_name: ObjectName | None = None
    """ServiceAccount, for what the platform gives its pods. Its token is not mounted."""
    image_pull_secrets: Annotated[list[ObjectReference], Field(max_length=8, json_schema_extra=_keyed("name"))] = Field(
        default_factory=list
    )
    """Secrets with registry credentials, besides the operator's."""
    security_context: PodSecurity | None = None
    """As whom containers run."""
    resource_claims: Annotated[list[ResourceClaim], Field(max_length=8, json_schema_extra=_keyed("name"))] = Field(
        default_factory=list
    )
    """Claims of dynamic resource allocation; resources.claims names those that the container uses."""
    host_network: Literal[True] | None = None
    """Use the node's network, where Pod Security lets the namespace do so. One such training pod fits on a node."""
    host_aliases: Annotated[list[HostAlias], Field(max_length=16, json_schema_extra=_keyed("ip"))] = Field(
        default_factory=list
    )
    """Further names of addresses."""
    dns_config: Open | None = None
    """How names are looked up."""
    termination_grace_period_seconds: Annotated[int, Field(ge=10, le=3600)] | None = None
    """Seconds between SIGTERM and SIGKILL; 50 if absent, in training 4 more for each GB of a checkpoint."""


def _amounts_rule(role: str) -> dict[str, str]:
    requests, limits = (f"self.?{role}.?resources.?{kind}.orValue({{}})" for kind in ("requests", "limits"))
    free = f"!('cpu' in {requests}) && !('memory' in {requests}) && !('memory' in {limits})"
    return rule(free, AMOUNT_FIX, field=f".{role}.resources")


def accelerator_rule(role: str) -> dict[str, str]:
    """Return the rule of a spec that its accelerators are not asked for once more."""
    amounts = [f"self.?podTemplate.?{role}.?resources.?{kind}.orValue({{}})" for kind in ("requests", "limits")]
    free = " && ".join(f"!(self.resources.accelerator.name in {one})" for one in amounts)
    return rule(free, ACCELERATOR_FIX, field=f".podTemplate.{role}.resources")


class PodTemplates(Contract):
    """What is added to the pods of each role."""

    model_config = ConfigDict(json_schema_extra=rules(_amounts_rule("all"), _amounts_rule("train")))

    all: PodTemplate | None = None
    """Added to all pods."""
    prepare: PodTemplate | None = None
    """Added to the pod that checks and fetches, over `all`."""
    train: PodTemplate | None = None
    """Added to training pods, over `all`."""
    publish: PodTemplate | None = None
    """Added to the pod that publishes, over `all`."""
    track: PodTemplate | None = None
    """Added to the pod that tells the tracker, over `all`."""
