"""FinetuneJob status: what the operator tells users. Numbers are rounded to 6 significant digits."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from finetune_api.base import Contract

#: A number that JSON, JavaScript and a 64-bit integer hold alike: pods fill in many of them, and are not trusted.
MAX_COUNT = 2**53


def _check_time(text: str) -> str:
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
    return text


Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Time = Annotated[str, AfterValidator(_check_time)]
TEXT_LENGTH = 64
ShortText = Annotated[str, Field(max_length=TEXT_LENGTH)]


class Phase(StrEnum):
    """Where the job is; for people. Machines should read the conditions."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    TRAINING = "Training"
    RESTARTING = "Restarting"
    PUBLISHING = "Publishing"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ConditionType(StrEnum):
    """Conditions of a FinetuneJob. `Succeeded` is the summary; `Finished` is True in both outcomes.

    `ProgressKnown` is there while a gang trains: False when the operator cannot ask rank 0, which ends nothing.
    `Tracked` is there once a job has trained or does, where spec.tracking names a tracker.
    """

    VALIDATED = "Validated"
    SCHEDULED = "Scheduled"
    TRAINING = "Training"
    PROGRESS_KNOWN = "ProgressKnown"
    PUBLISHED = "Published"
    TRACKED = "Tracked"
    SUCCEEDED = "Succeeded"
    FINISHED = "Finished"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Told(Contract):
    """A part of a status. Fields of a newer release are left alone: who reads it may be older than who wrote it."""

    model_config = ConfigDict(extra="ignore")


class Condition(Told):
    """One aspect of the job's state, as in the Kubernetes API conventions."""

    type: str
    """Name of the aspect."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: int = 0
    """Generation of the spec it was derived from."""
    last_transition_time: Time
    """When status last changed, RFC 3339."""
    reason: str
    """One word, stable, for machines."""
    message: str = ""
    """What happened and what to do, for people."""


class RestartCounts(Told):
    """Gang restarts, and what of the budgets of spec.retry is spent. Progress gives the budgets back."""

    user_errors: Count = 0
    """Restarts after errors of code or data, since the newest checkpoint that goes further than those before."""
    infrastructure: Count = 0
    """Restarts after lost nodes, evictions and crashes from outside, since then."""
    total: Count = 0
    """All that were charged, given back or not."""
    without_progress: Count = 0
    """All since then, free ones too; the next gang waits the longer the more there were."""
    checkpoint_step: Count = 0
    """Step of that checkpoint when the last of them was decided."""
    last_time: Time | None = None
    """When that was, RFC 3339."""


#: What the last lines of a log may come to, together with the rest of a termination message.
MAX_LINES = 20
LINE_LENGTH = 240
LastLines = Annotated[list[Annotated[str, Field(max_length=LINE_LENGTH)]], Field(max_length=MAX_LINES)]


class LostAttempt(Told):
    """The gang that was lost last, and why."""

    attempt: Count
    """Its number."""
    reason: ShortText
    """Why, as in docs/reasons.md."""
    time: Time
    """When that was seen, RFC 3339."""
    step: Count = 0
    """The most optimizer steps that were known to be made."""
    rank: Count | None = None
    """Rank that failed first, if that is known."""
    node: Annotated[str, Field(max_length=253)] = ""
    """Node of its pod."""
    lines: LastLines = Field(default_factory=list)
    """The last lines of that rank's log, as far as they fit. Where the whole log is, the condition Training says."""


class AvoidedNode(Told):
    """A node that gangs are kept from for a day, where there are others."""

    name: Annotated[str, Field(max_length=253)]
    """Its name."""
    reason: ShortText
    """What was seen there, as in docs/reasons.md."""
    time: Time
    """When, RFC 3339."""


class GangReturnsStatus(Told):
    """Gangs in a row that did not run whole within spec.schedule.gangTimeoutSeconds and gave their nodes back."""

    times: Count
    """How many; they are charged to nobody."""
    reason: str
    """Why the last of them did not run."""
    since: Time
    """Since when gangs have not run for that reason, RFC 3339."""
    next_time: Time
    """Before when no other is made, RFC 3339: the later the more there were."""


class ProgressStatus(Told):
    """How far prepare is, then how far training is."""

    stage: ShortText = ""
    """What prepare is doing: Fetching, Opening, Checking, Reading, Mining or Saving. What rank 0 is doing: Loading,
    Baseline, Training, Evaluating, Saving or Done."""
    dataset: ShortText = ""
    """The dataset whose rows prepare goes through."""
    rows: Count = 0
    """Rows of it that this stage has done, also where an earlier try had done them before; of Mining embeddings, then
    queries."""
    total_rows: Count = 0
    """How many there are; 0 while unknown, and while training."""
    rows_per_second: Annotated[float, Field(ge=0, le=MAX_COUNT)] | None = None
    """How many are done a second, over the last minute."""
    rate: ShortText = ""
    """The same for people: `36.5 rows per second`."""
    step: Count = 0
    """Optimizer steps made."""
    total_steps: Count = 0
    """Optimizer steps planned; 0 while unknown."""
    percent: Count = 0
    """Share of the steps made; while preparing, of the rows."""
    text: ShortText = ""
    """Steps made, planned and their share, for people: `180/288 (62 %)`; before the first step the stage. While
    preparing the stage, with its rows where they are known: `Reading 41000/100000 (41 %)`."""
    epoch: float = 0.0
    """Epochs made."""
    eta_seconds: Count | None = None
    """Seconds until training ends, at the current speed; while preparing, until the stage is done with the dataset."""
    eta: ShortText = ""
    """The same for people: `42 s`, `3:05 min` or `2:00:15 h`."""
    last_update_time: Time | None = None
    """When prepare or rank 0 said so, RFC 3339."""


class MetricsStatus(Told):
    """Newest numbers."""

    train_loss: float | None = None
    """Training loss of the newest log interval."""
    learning_rate: float | None = None
    """Learning rate of the newest log interval."""
    score: float | None = None
    """spec.evaluation.metric at the newest evaluation."""
    best_score: float | None = None
    """Its best value so far."""
    best_step: Count | None = None
    """Step of the best value."""
    baseline_score: float | None = None
    """Its value for the base model."""


#: What a status keeps of a training's curves: enough for a look, little enough for thousands of jobs.
MAX_CURVE_POINTS = 32


class CurvePoint(Told):
    """What was measured after one step."""

    step: Count
    """Optimizer steps made."""
    loss: float | None = None
    """Training loss; absent where none was logged."""
    score: float | None = None
    """spec.evaluation.metric; absent where nothing was evaluated."""


Curve = Annotated[list[CurvePoint], Field(max_length=MAX_CURVE_POINTS)]


class DimensionScore(Told):
    """The metric with embeddings cut to one size."""

    dimension: Count
    """Length of the cut embedding."""
    baseline: float | None = None
    """Value for the base model."""
    final: float | None = None
    """Value for the trained model."""


class EvaluationScore(Told):
    """One metric on one evaluation set, before and after."""

    name: str
    """Name of the evaluation set."""
    metric: str
    """ndcg@10, mrr@10 and so on."""
    baseline: float | None = None
    """Value for the base model."""
    final: float | None = None
    """Value for the trained model."""
    improvement_low: float | None = None
    """Lower end of the bootstrap interval of the improvement, over queries or rows."""
    improvement_high: float | None = None
    """Its upper end."""
    confidence: float | None = None
    """Confidence of that interval."""
    dimensions: Annotated[list[DimensionScore], Field(max_length=16)] = Field(default_factory=list)
    """The same per Matryoshka dimension; only for spec.evaluation.metric."""


class ModelStatus(Told):
    """The base model as it was loaded."""

    revision: str | None = None
    """Commit of the base model, or a content hash for a volume claim."""
    modalities: list[str] = Field(default_factory=list)
    """What the model can encode."""
    embedding_dimension: Count | None = None
    """Length of its embeddings; a reranker has none."""
    attention: str | None = None
    """Attention implementation that ran."""
    dtype: str | None = None
    """Precision of the weights that ran."""
    parameters: Count | None = None
    """Number of its weights, adapters included."""
    trainable_parameters: Count | None = None
    """How many of them are trained."""
    checkpoint_bytes: Count | None = None
    """About what one checkpoint takes; ranks that are asked to end are given the time to save it."""


class DatasetStatus(Told):
    """One dataset as it was read."""

    name: str
    """Name in the spec."""
    revision: str | None = None
    """Commit of the dataset, or a content hash for a volume claim."""
    rows: Count = 0
    """Rows that are used."""
    skipped: Count = 0
    """Rows left out because they could not be read."""


class CheckpointStatus(Told):
    """The newest verified checkpoint."""

    step: Count
    """Optimizer step it was taken after."""
    time: Time | None = None
    """When it was written, RFC 3339."""
    save_seconds: Annotated[float, Field(ge=0)] | None = None
    """How long that took until it was whole on the volume; a gang that is asked to end needs as long to save."""
    pause_seconds: Annotated[float, Field(ge=0)] | None = None
    """How long training stood still for it: it goes on while the checkpoint is written."""


class UsageStatus(Told):
    """What the job's gangs have held, and what came of it, over all attempts and reruns.

    Pods hold what they ask for from when they have a node until they end, or until the operator gives the gang up.
    Every second of it is of one kind in the end; while a gang trains, what it spent on loading is not told yet.
    """

    of: Literal["Accelerators", "Processes"]
    """Whose seconds these are: of accelerators, or of training processes where the job has no accelerators."""
    held_seconds: Count = 0
    """How long they were held."""
    useful_seconds: Count = 0
    """Of that, steps and saving that a checkpoint or the model has."""
    evaluating_seconds: Count = 0
    """Evaluations, of which the same is true."""
    lost_seconds: Count = 0
    """Steps and evaluations of gangs that were lost before a checkpoint had them."""
    waiting_seconds: Count = 0
    """All else: pods waited for others of their gang or an image, libraries and the model were loaded, ranks ended."""
    unsaved_seconds: Count = 0
    """Steps and evaluations since the newest checkpoint: useful with the next one, lost with the gang."""
    interrupted_seconds: Count = 0
    """The same of a gang that has ended; the next one finds out how much of it was saved."""
    time: Time
    """Until when this was counted, RFC 3339."""


class StorageStatus(Told):
    """Where inputs, checkpoints, model and report lie."""

    claim: str
    """The volume claim."""
    folder: str = ""
    """Folder of the claim; empty: all of it. The model is in train/model below."""
    size: str | None = None
    """What the claim made for the job asks for."""
    goes_with_job: bool | None = None
    """Whether the claim made for the job is removed with the FinetuneJob, see spec.storage.retain."""


class ImageStatus(Told):
    """The trainer image of this run."""

    name: str
    """What pods of all roles and attempts are made with, by digest once prepare has run it, where nodes tell that."""
    requested: str | None = None
    """The spec.image that it stands for; absent: the operator's default when the run began."""


class PublishedStatus(Told):
    """What is on the Hub, in a bucket or in a registry."""

    repository: str
    """OWNER/NAME, s3://BUCKET/PATH or oci://HOST/PATH:TAG."""
    commit: str | None = None
    """Commit that holds the model; in a bucket the SHA-256 of what it holds; in a registry its manifest's digest."""
    tag: str | None = None
    """Tag that names this run; publishing again finds it."""
    url: str | None = None
    """Address of the commit, of the model's folder in a bucket, or of the artifact by its digest."""

    @property
    def is_on_hub(self) -> bool:
        """Return whether a commit of the Hub is named, and neither a bucket nor a registry."""
        return self.commit is not None and "://" not in self.repository

    @property
    def is_artifact(self) -> bool:
        """Return whether an OCI artifact is named."""
        return self.repository.startswith("oci://")

    @property
    def short_commit(self) -> str:
        """Return the commit or digest as people tell it from others; nothing if there is none."""
        return (self.commit or "").removeprefix("sha256:")[:12]


class TrackingStatus(Told):
    """What the tracker has, as it was read back."""

    tracker: ShortText
    """mlflow or wandb."""
    run: Annotated[str, Field(max_length=256)]
    """Id of the run there."""
    url: Annotated[str, Field(max_length=1024)]
    """Address of the run."""
    points: Count = 0
    """Values over steps that it has."""


class FinetuneJobStatus(Told):
    """Observed state."""

    observed_generation: int = -1
    """Generation this status is about; -1 until the operator has seen the job, so that no tool takes it for healthy."""
    phase: Phase | None = None
    """Where the job is, for people."""
    attempt: int = 0
    """Number of the current gang, from 1."""
    run: ShortText | None = None
    """What is trained, by its content: one name for equal model, data, training, evaluation and number of processes at
    equal commits. The tag on the Hub has it, too."""
    rerun: str | None = None
    """The spec.rerun of this run."""
    reruns: Count = 0
    """How often spec.rerun has made the job run once more; from the first time on it trains also what was published."""
    restarts: RestartCounts = Field(default_factory=RestartCounts)
    """Restarts, and what they were charged to."""
    last_failure: LostAttempt | None = None
    """The gang that was lost last, and why."""
    avoided_nodes: Annotated[list[AvoidedNode], Field(max_length=16)] = Field(default_factory=list)
    """Nodes on which hardware failed within a day: the next gang runs elsewhere, where there is room."""
    gang_returns: GangReturnsStatus | None = None
    """Gangs that gave their nodes back because not all of their pods ran; absent once one runs."""
    trained_seconds: Count = 0
    """How long gangs have trained, the current one since trainingTime left out; see spec.activeDeadlineSeconds."""
    training_time: Time | None = None
    """Since when the current gang trains, RFC 3339."""
    usage: UsageStatus | None = None
    """What the job's gangs have held, and what came of it; written along with other news."""
    world_size: int | None = None
    """Training processes over all nodes of the newest gang that ran."""
    start_time: Time | None = None
    """When the operator first acted on the job, or again after a suspension, RFC 3339."""
    completion_time: Time | None = None
    """When the job succeeded or failed, RFC 3339."""
    phase_times: dict[str, str] = Field(default_factory=dict)
    """When each phase was first entered, RFC 3339."""
    cleanup_time: str | None = None
    """When everything was removed that spec.ttlSecondsAfterFinished lets go of, RFC 3339."""
    image: ImageStatus | None = None
    """The trainer image, kept for the whole run."""
    storage: StorageStatus | None = None
    """Where inputs, checkpoints, model and report lie."""
    progress: ProgressStatus | None = None
    """How far prepare is; how far training is."""
    metrics: MetricsStatus | None = None
    """Newest numbers."""
    curve: Curve = Field(default_factory=list)
    """Loss and score over the steps so far, over all attempts: some of the points that train/report.json has."""
    evaluations: list[EvaluationScore] = Field(default_factory=list)
    """Metrics before and after."""
    model: ModelStatus | None = None
    """The base model as it was loaded."""
    datasets: list[DatasetStatus] = Field(default_factory=list)
    """The datasets as they were read."""
    checkpoint: CheckpointStatus | None = None
    """The newest verified checkpoint."""
    published: PublishedStatus | None = None
    """What is on the Hub, in a bucket or in a registry."""
    tracking: TrackingStatus | None = None
    """What the tracker has, see spec.tracking."""
    warnings: Annotated[list[str], Field(max_length=20)] = Field(default_factory=list)
    """What did not stop the job but deserves a look."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = Field(default_factory=list)
    """State in the form of the Kubernetes API conventions."""
