"""FinetuneJob as users write it: metadata and spec. The field docs become the CRD's descriptions.

Single source of the CRD (`finetune_api.crd`). Defaults and limits live here; what spans fields is a CEL rule beside
the type it belongs to; what no schema can state is in `finetune_api.problems`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from finetune_api.base import Contract
from finetune_api.datasets import Data
from finetune_api.fields import (
    DATA_KEY_PATTERN,
    FOLDER_PATTERN,
    OBJECT_NAME_PATTERN,
    Arguments,
    Name,
    Quantity,
    ShortText,
    immutable,
    rule,
    rules,
    unchangeable,
)
from finetune_api.model import Model
from finetune_api.objective import Loss
from finetune_api.pod_template import PodTemplates, accelerator_rule
from finetune_api.sources import ARTIFACT, BUCKET_SOURCE, FITS_THE_HUB, REPOSITORY
from finetune_api.status import FinetuneJobStatus
from finetune_api.tracking import Tracking

GROUP = "finetune.dev"
VERSION = "v1alpha1"
KIND = "FinetuneJob"
PLURAL = "finetunejobs"

Metric = Annotated[
    str,
    StringConstraints(max_length=16),
    Field(
        json_schema_extra=rules(
            rule(
                "self.matches('^((ndcg|mrr|recall|map|precision|accuracy)@[1-9][0-9]{0,2}"
                "|accuracy|spearman|pearson|ap|f1|precision|recall|mcc)$')",
                "write ndcg@k, mrr@k, recall@k, map@k, precision@k or accuracy@k, k from 1 to 999, for example "
                "ndcg@10; or accuracy, spearman, pearson, ap, f1, precision, recall or mcc",
            )
        )
    ),
]
MAX_METRICS = 16
BucketSecret = Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, max_length=253)]
Sharding = Literal["Auto", "None", "Optimizer", "Full"]


class SecretKey(Contract):
    """One key of a Secret in the job's namespace. The operator never reads it; the kubelet mounts it as a file."""

    name: Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, StringConstraints(pattern=DATA_KEY_PATTERN, max_length=253)] = "token"
    """Key inside the Secret that holds the token."""


class Hub(Contract):
    """How prepare reads from the Hub."""

    token_secret: SecretKey | None = None
    """Read token for private or gated models and datasets. Mounted as a file into the prepare pod alone."""


class Buckets(Contract):
    """How prepare reads s3://, gs:// and az:// sources."""

    secret_name: BucketSecret | None = None
    """Secret of the job's namespace with what clients need: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and
    AWS_ENDPOINT_URL, or their like of GOOGLE_ and AZURE_ (docs/buckets.md). Its keys are mounted as files into the
    prepare container alone. Absent: what spec.podTemplate gives that container, else requests are anonymous."""


class Training(Contract):
    """How to train. Names are those of Hugging Face's training arguments."""

    loss: Loss = Field(default_factory=Loss)
    """The training objective."""
    num_train_epochs: Annotated[float, Field(gt=0, le=1000)] = 1
    """How often the training set is gone through."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many steps, whatever numTrainEpochs says."""
    per_device_train_batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Rows per process and step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-5
    """Peak learning rate of AdamW."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of all steps in which the learning rate rises."""
    learning_rates: Annotated[
        dict[str, Annotated[float, Field(gt=0, le=1)]], Field(json_schema_extra={"maxProperties": 32})
    ] = Field(default_factory=dict)
    """Learning rates of parameters by a regular expression on their names, as the library's learning_rate_mapping."""
    sharding: Sharding = "Auto"
    """What each process holds of the weights that are trained. Optimizer: a share of the optimizer's states and of
    float32 weights, and all weights, in model.dtype, while a step lasts (ZeRO-2, by FSDP2). Full: the same, but of
    the model's layers one at a time (ZeRO-3); slower, for models that do not fit otherwise; not for adapters, nor for
    float32 on accelerators. None: everything. Auto is Optimizer for bfloat16 weights and for several accelerators,
    Full for bfloat16 where these have too little memory for it, but None for adapters, float16, and optimizers other
    than adamw_torch, sgd, adagrad and rmsprop."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    """Seed of data order and dropout."""
    arguments: Arguments = Field(default_factory=dict)
    """Any other training argument of the library, by its own snake_case name, for example weight_decay or
    gradient_accumulation_steps; checked by prepare."""


class Evaluation(Contract):
    """When and what to measure."""

    metric: Metric = "ndcg@10"
    """ndcg@k, mrr@k, recall@k, map@k, precision@k or accuracy@k; accuracy of triplets; spearman or pearson of
    similarities; ap, f1, accuracy, precision, recall or mcc of pairs. Decides which model is best, and the gate."""
    dataset: Name | None = None
    """Evaluation set that the metric is taken from; the first if absent."""
    also_report: Annotated[
        list[Metric], Field(max_length=MAX_METRICS, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(default_factory=list)
    """Metrics that are reported besides the usual ones, for example recall@100, of each set that yields them."""
    every: Annotated[
        int | Annotated[str, StringConstraints(max_length=8)],
        Field(
            json_schema_extra={
                "x-kubernetes-int-or-string": True,
                **rules(
                    rule(
                        "type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",
                        "every must be a number of steps (at least 1) or a share of all steps, for example 10%",
                    )
                ),
            }
        ),
    ] = "10%"
    """Evaluate after so many steps, or after each such share of all steps."""
    baseline: bool = True
    """Measure the base model before training, so that the improvement is known."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Images encoded at once, and texts as long as the longest; of shorter ones there are more in a batch."""


class Accelerator(Contract):
    """The accelerators of one node."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] = "nvidia.com/gpu"
    """Extended resource that the device plugin offers."""
    per_node: Annotated[int, Field(ge=0, le=16)] = 1
    """Accelerators, and with them training processes, per node. 0 trains on CPU with one process per node."""


class ComputeRequests(Contract):
    """What one training pod asks for besides accelerators."""

    cpu: Quantity = "4"
    """CPUs; also decides the threads of each process."""
    memory: Quantity = "16Gi"
    """Memory, and its limit."""


class Resources(Contract):
    """Nodes and what each training pod gets."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.minNodes) || self.minNodes <= self.nodes",
                "minNodes is the fewest of resources.nodes with which a gang may go on; it cannot be more",
                field=".minNodes",
            ),
            rule(
                "has(self.minNodes) == has(oldSelf.minNodes) "
                "&& (!has(self.minNodes) || self.minNodes == oldSelf.minNodes)",
                unchangeable("resources.minNodes"),
                field=".minNodes",
            ),
        )
    )

    nodes: Annotated[int, Field(ge=1, le=256), immutable("resources.nodes")] = 1
    """Training pods; they start, fail and restart together."""
    min_nodes: Annotated[int, Field(ge=1, le=256)] | None = None
    """Fewest nodes of a gang; as many as `nodes` if absent. One that does not get its nodes within
    schedule.gangTimeoutSeconds is made anew with the next smaller divisor of `nodes`, and trains with the same batches.
    After the next restart it asks for all nodes again. A queue (schedule.queueName) admits whole gangs as before.
    Prepare checks that the losses let fewer share the batches, so that it does not change later."""
    accelerator: Annotated[Accelerator, immutable("resources.accelerator")] = Field(default_factory=Accelerator)
    """Accelerators per node."""
    requests: ComputeRequests = Field(default_factory=ComputeRequests)
    """CPU and memory per node."""
    shared_memory: Quantity = "2Gi"
    """Size of /dev/shm, where data loader workers pass batches. Counts towards memory."""

    @property
    def gang_sizes(self) -> tuple[int, ...]:
        """Return the numbers of nodes that a gang may have, the most first."""
        fewest = min(self.nodes, self.min_nodes or self.nodes)
        return tuple(number for number in range(self.nodes, fewest - 1, -1) if self.nodes % number == 0)

    @property
    def processes_per_node(self) -> int:
        """Return the training processes per node: one per accelerator, one on CPU."""
        return max(1, self.accelerator.per_node)


class Storage(Contract):
    """The job's volume: inputs, checkpoints, model and report."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.subPath) || has(self.existingClaim)",
                "subPath needs existingClaim; a volume of the job's own is used whole",
                field=".subPath",
            ),
            *[
                rule(
                    f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
                    unchangeable(f"storage.{name}"),
                    field=f".{name}",
                )
                for name in ("storageClassName", "existingClaim", "subPath")
            ],
        )
    )

    size: Annotated[
        Quantity,
        Field(
            json_schema_extra=rules(
                rule(
                    "quantity(self).compareTo(quantity(oldSelf)) >= 0",
                    "spec.storage.size may only grow once the job exists, as volumes do not shrink; leave it as it was",
                )
            )
        ),
    ] = "50Gi"
    """Size of the volume claim: base model, dataset, checkpoints and the result have to fit."""
    storage_class_name: Annotated[str, StringConstraints(max_length=253)] | None = None
    """StorageClass; the cluster's default one if absent."""
    access_mode: Annotated[
        Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"], immutable("storage.accessMode")
    ] = "ReadWriteOnce"
    """More than one node needs ReadWriteMany. With ReadWriteOncePod (CSI drivers alone) the storage lets in one pod at
    a time, so that one on a lost node cannot write beside its successor."""
    existing_claim: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    """Use this claim instead of making one; it is never deleted. Many jobs may share it."""
    sub_path: (
        Annotated[
            str,
            StringConstraints(pattern=FOLDER_PATTERN, max_length=512),
        ]
        | None
    ) = None
    """Folder of the existing claim to use, by one job at a time; `.` is all of it, where the job worked that the claim
    was made for. Absent: a folder of the job's own, see status.storage."""
    retain: Literal["UntilPublished", "Always", "WithJob"] = "UntilPublished"
    """When the volume made for the job goes with the FinetuneJob. UntilPublished: once the model is on the Hub, or the
    job ended before training; what was not published stays when the FinetuneJob is deleted. Always: never, whatever
    ttlSecondsAfterFinished says. WithJob: at any time."""


class Checkpoint(Contract):
    """How often training can be resumed from."""

    every_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    """Minutes between checkpoints, the first after 5: at most so much work is lost, and what was done while the newest
    was being written. One is written after the last step, too, and whenever training is asked to end."""
    every_steps: Annotated[int, Field(ge=1)] | None = None
    """Besides, one after so many steps; the minutes count from the newest."""
    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """Newest checkpoints kept; the best model is kept besides."""


class Gate(Contract):
    """Publish only what got better."""

    min_improvement: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Least improvement of evaluation.metric over the base model. 0: strictly better, an equal score is not enough.
    Below 0: so much worse is let through. Below 0.01 NDCG@10 differences are noise."""
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] | None = None
    """Ask for the improvement with this confidence: the lower end of its bootstrap interval over the queries must
    reach minImprovement. Absent: the measured improvement must."""


class Publish(Contract):
    """Where the result goes, if it got better."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!self.always || !has(self.gate)",
                "publish.always publishes whatever was measured, and publish.gate does not; leave one of them out",
                field=".always",
            ),
            rule(
                "[has(self.repository), has(self.bucket), has(self.registry)].exists_one(one, one)",
                "give one of repository, on the Hub, bucket and registry",
                field=".repository",
            ),
            rule(
                "has(self.repository) == has(self.tokenSecret)",
                "repository needs tokenSecret, a write token of the Hub; all else has its keys in secretName",
                field=".tokenSecret",
            ),
            rule(
                "!has(self.repository) || !has(self.secretName)",
                "secretName goes with bucket and registry, whose keys it has; the Hub's token is in tokenSecret",
                field=".secretName",
            ),
        )
    )

    repository: (
        Annotated[
            str,
            StringConstraints(min_length=3, max_length=200),
            Field(
                json_schema_extra=rules(
                    rule(
                        f"self.matches('^{REPOSITORY}$') && {FITS_THE_HUB}",
                        "repository must be OWNER/NAME as the Hub allows it, for example acme/qwen3-vl-vdr: letters, "
                        "digits, '-', '_' and '.', no '--' or '..', no '.git' at the end, 96 characters each",
                    )
                )
            ),
        ]
        | None
    ) = None
    """Hub model repository; created if missing."""
    bucket: (
        Annotated[
            str,
            StringConstraints(max_length=256),
            Field(
                json_schema_extra=rules(
                    rule(
                        f"self.matches('^{BUCKET_SOURCE}$')",
                        "write s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH",
                    )
                )
            ),
        ]
        | None
    ) = None
    """Instead of a repository: s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH, where each model has a folder
    of its own, and finetunejobs.json names those that are whole, the newest first (docs/buckets.md)."""
    registry: (
        Annotated[
            str,
            StringConstraints(max_length=400),
            Field(
                json_schema_extra=rules(
                    rule(
                        f"self.matches('^{ARTIFACT}$')",
                        "write oci://HOST/PATH:TAG, the path in small letters, for example "
                        "oci://registry.example/team/model:v1",
                    )
                )
            ),
        ]
        | None
    ) = None
    """Instead of a repository: oci://HOST/PATH:TAG, an OCI artifact with a layer for each file, which is tagged once it
    is whole. A tag of another job's model is moved, and the model before keeps one of its own (docs/registries.md)."""
    private: bool = True
    """Visibility of a repository that is created."""
    branch: ShortText = "main"
    """Branch that gets the commit."""
    if_exists: Literal["Fail", "Update", "Skip"] = "Update"
    """What to do when the repository has commits already: fail before training; add one that replaces the model, and
    with it every file that loading a model reads, while all others stay; or leave it alone. In a bucket and in a
    registry every model stays: this is about becoming the newest, or having the tag."""
    token_secret: SecretKey | None = None
    """Write token of the Hub. Mounted as a file into the publishing containers alone."""
    secret_name: BucketSecret | None = None
    """Secret with what clients of the bucket need, as in spec.buckets; or with a login for the registry, of type
    kubernetes.io/dockerconfigjson. Its keys are mounted as files into the publishing containers alone."""
    gate: Gate | None = None
    """Improvement that is required. Absent: the model must be strictly better than the base model, wherever both are
    measured; without an evaluation set, or with evaluation.baseline false, nothing can be compared."""
    always: bool = False
    """Publish whether it got better or not. A model whose weights did not change is not published all the same."""

    @property
    def place(self) -> str:
        """Return the repository, the bucket or the artifact, as messages name it."""
        return self.repository or self.bucket or self.registry or ""

    @property
    def model_name(self) -> str:
        """Return the last part of the place, without a tag: what the model may be called."""
        return self.place.rstrip("/").rpartition("/")[2].partition(":")[0]

    @property
    def field(self) -> str:
        """Return which field names the place."""
        if self.registry:
            return "publish.registry"
        return "publish.repository" if self.repository else "publish.bucket"


class Schedule(Contract):
    """Where the job's pods may run."""

    queue_name: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Kueue LocalQueue of the training Job, and of the other Jobs where the administrator has said so."""
    queue_priority_class_name: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """Kueue WorkloadPriorityClass of the same Jobs: who is admitted first, and who is preempted."""
    queue_timeout_seconds: Annotated[int, Field(ge=1)] | None = None
    """The job fails when its training pods have waited so many seconds in a row for a queue or for nodes. Absent: it
    waits without a limit."""
    gang_timeout_seconds: Annotated[int, Field(ge=60)] = 600
    """Pods of a gang that does not run whole after so many seconds give their nodes back, and are made again later:
    two gangs that hold half of what each needs would wait for each other for ever."""
    priority_class_name: Annotated[str, StringConstraints(max_length=253)] | None = None
    """PriorityClass of the training pods."""
    node_selector: Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Labels that a node must have, to run any pod of the job. What only training needs is in
    podTemplate.train.nodeSelector."""
    tolerations: Annotated[
        list[Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]],
        Field(max_length=32),
    ] = Field(default_factory=list)
    """Tolerations of the job's pods."""


class Retry(Contract):
    """How often the gang is restarted, each time from the newest verified checkpoint.

    A checkpoint that goes further than those before gives both budgets back. Two gangs in a row that are lost with the
    same cause of their own, and no step in between, end the job whatever is left.
    """

    user_errors: Annotated[int, Field(ge=0, le=100)] = 1
    """Restarts after errors of code or data. Bad specs, bad data and non-finite losses are never retried."""
    infrastructure: Annotated[int, Field(ge=0, le=1000)] = 10
    """Restarts after lost nodes, evictions and crashes from outside. Free is what
    the API server announced: preemption, eviction, deletion, a queue."""


class FinetuneJobSpec(Contract):
    """What to train, on what, where, and where the result goes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.resources.nodes <= 1 || has(self.storage.existingClaim) "
                "|| self.storage.accessMode == 'ReadWriteMany'",
                "resources.nodes above 1 needs storage.accessMode ReadWriteMany: every node writes to one volume",
                field=".resources.nodes",
            ),
            rule(
                "!has(self.publish) || !has(self.publish.gate) || "
                "((has(self.data.evaluation) && size(self.data.evaluation) > 0 "
                "|| self.data.train.exists(one, has(one.holdOut))) && self.evaluation.baseline)",
                "publish.gate compares with the base model; add data.evaluation, or holdOut to a training set, and "
                "leave evaluation.baseline true",
                field=".publish.gate",
            ),
            accelerator_rule("all"),
            accelerator_rule("train"),
        )
    )

    model: Annotated[Model, immutable("model")]
    """The base model."""
    hub: Hub = Field(default_factory=Hub)
    """How prepare reads from the Hub."""
    buckets: Buckets = Field(default_factory=Buckets)
    """How prepare reads s3://, gs:// and az:// sources."""
    data: Annotated[Data, immutable("data")]
    """What to train and to evaluate on."""
    training: Annotated[Training, immutable("training")] = Field(default_factory=Training)
    """How to train."""
    evaluation: Annotated[Evaluation, immutable("evaluation")] = Field(default_factory=Evaluation)
    """When and what to measure."""
    resources: Resources = Field(default_factory=Resources)
    """Nodes and what each training pod gets."""
    storage: Storage = Field(default_factory=Storage)
    """The job's volume."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """How often training can be resumed from."""
    publish: Publish | None = None
    """Where the result goes; without it the model stays on the volume."""
    tracking: Tracking | None = None
    """The experiment tracker that is told of the job, see docs/tracking.md. It never fails the job, nor delays it."""
    schedule: Schedule = Field(default_factory=Schedule)
    """Where the job's pods may run."""
    pod_template: PodTemplates | None = None
    """What is added to the job's pods, see docs/pods.md. Takes effect with the next pod that is made."""
    retry: Retry = Field(default_factory=Retry)
    """How often the gang is restarted."""
    suspend: bool = False
    """True frees the accelerators; false again resumes from the newest checkpoint."""
    rerun: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """A new text, such as the time, makes a job that has ended, well or not, run once more with fresh budgets, from
    what its volume holds: of a model that is trained, only publishing is done again."""
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """The job fails when its gangs have trained for so many seconds, all attempts together. Waiting for a queue or for
    nodes does not count, nor do suspensions; a model that is trained is published whatever this says."""
    prepare_timeout_seconds: Annotated[int, Field(ge=60)] = 86_400
    """The job fails when prepare, with all its tries, takes longer than so many seconds."""
    publish_timeout_seconds: Annotated[int, Field(ge=60)] = 21_600
    """The job fails when publishing, with all its tries, takes longer than so many seconds."""
    stall_timeout_seconds: Annotated[int, Field(ge=30)] = 1800
    """The gang is restarted when rank 0 answers but has made no step for so many seconds. One that does not answer is
    left alone: see condition ProgressKnown."""
    collective_timeout_seconds: Annotated[int, Field(ge=30)] | None = None
    """Ranks give each other up when one has waited so many seconds for the others. Default: twice stallTimeoutSeconds,
    so that a stall is noticed first, and where each rank stands is in its log."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Pods are removed so many seconds after the end, and the volume of a job whose model was published. What was not
    published stays: the volume goes with the FinetuneJob, which stays, too."""
    image: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    """Trainer image, instead of the operator's default."""

    @property
    def rank_patience_seconds(self) -> int:
        """Return how long ranks wait for each other."""
        return self.collective_timeout_seconds or 2 * self.stall_timeout_seconds


@dataclass(frozen=True)
class NamedSource:
    """A source and where the spec names it."""

    path: str
    """Field without `.source`, for example `spec.data.train[0]`."""
    source: str
    revision: str


def named_models(spec: FinetuneJobSpec) -> list[NamedSource]:
    """Return every model that the spec names, the base model or its routes first."""
    model = spec.model
    found = [] if model.source is None else [NamedSource("spec.model", model.source, model.revision)]
    if model.router is not None:
        found += [
            NamedSource(f"spec.model.router.routes.{name}", route.source, route.revision)
            for name, route in model.router.routes.items()
        ]
    if (guide := spec.training.loss.guide) is not None:
        found.append(NamedSource("spec.training.loss.guide", guide.source, guide.revision))
    for index, dataset in enumerate(spec.data.train):
        path = f"spec.data.train[{index}]"
        if dataset.loss is not None and (guide := dataset.loss.guide) is not None:
            found.append(NamedSource(f"{path}.loss.guide", guide.source, guide.revision))
        if (miner := dataset.mine_negatives) is not None and miner.source is not None:
            found.append(NamedSource(f"{path}.mineNegatives", miner.source, miner.revision))
    return found


def named_datasets(spec: FinetuneJobSpec) -> list[NamedSource]:
    """Return every dataset that the spec names, in its order."""
    train = [NamedSource(f"spec.data.train[{i}]", d.source, d.revision) for i, d in enumerate(spec.data.train)]
    evaluation = [
        NamedSource(f"spec.data.evaluation[{i}]", d.source, d.revision) for i, d in enumerate(spec.data.evaluation)
    ]
    return train + evaluation


class ObjectMeta(Contract):
    """The part of Kubernetes metadata that the operator reads."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = ""
    deletion_timestamp: str | None = None


class FinetuneJob(Contract):
    """A finetuning job: fetch, measure, train, measure again, publish if better."""

    model_config = ConfigDict(extra="ignore")

    metadata: ObjectMeta
    spec: FinetuneJobSpec
    status: FinetuneJobStatus = Field(default_factory=FinetuneJobStatus)
