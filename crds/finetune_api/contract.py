"""What operator and trainer tell each other: RunConfig in, Progress and RunResult out, exit codes.

Operator to trainer: `RunConfig` as JSON in an immutable ConfigMap mounted at `workspace.RUN_CONFIG`. Trainer to
operator: `Progress` over HTTP while it runs, `RunResult` (at most `RESULT_LIMIT_BYTES`) in the termination message.
"""

import hashlib
import json
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from finetune_api.base import Contract
from finetune_api.reasons import GUIDANCE, Fault, Reason
from finetune_api.status import (
    CheckpointStatus,
    Count,
    Curve,
    DatasetStatus,
    EvaluationScore,
    LastLines,
    MetricsStatus,
    ModelStatus,
    Phase,
    ProgressStatus,
    PublishedStatus,
    ShortText,
    Time,
    TrackingStatus,
    UsageStatus,
)
from finetune_api.tracking import Tracking
from finetune_api.types import FinetuneJobSpec

RESULT_LIMIT_BYTES = 4096
MESSAGE_LIMIT = 1200
MAX_WARNINGS = 20


class Role(StrEnum):
    """What one container of the trainer image does; the first command-line argument."""

    PREFLIGHT = "preflight"
    PREPARE = "prepare"
    TRAIN = "train"
    PUBLISH = "publish"
    TRACK = "track"


class Stage(StrEnum):
    """What prepare is doing, then what rank 0 is doing."""

    FETCHING = "Fetching"
    OPENING = "Opening"
    CHECKING = "Checking"
    READING = "Reading"
    MINING = "Mining"
    LOADING = "Loading"
    BASELINE = "Baseline"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    SAVING = "Saving"
    DONE = "Done"


class ExitCode(IntEnum):
    """How a trainer container or the command ends. Anything else is a crash (137 killed, 143 terminated)."""

    SUCCESS = 0
    INTERNAL_ERROR = 1
    USAGE = 2  # the command alone: its arguments are wrong, or what it needs is not installed
    BAD_SPEC = 10
    BAD_DATA = 11
    UNSUPPORTED_MODEL = 12
    ACCESS_REFUSED = 13
    HUB_UNAVAILABLE = 14
    NON_FINITE_LOSS = 15
    OUT_OF_MEMORY = 16
    PREEMPTED = 17
    PEER_LOST = 18
    TRAINER_ERROR = 19
    STORAGE_FULL = 20
    RANK_KILLED = 21
    WORKSPACE_IN_USE = 22
    NODE_FAULT = 23
    STORAGE_FAULT = 24
    CLUSTER_UNAVAILABLE = 30  # the command alone: no cluster, or one whose FinetuneJobs it does not know
    NOT_FOUND = 31  # the command alone: no such job, or log


EXIT_CODES: dict[Reason, ExitCode] = {
    Reason.INVALID_SPEC: ExitCode.BAD_SPEC,
    Reason.INVALID_ARGUMENT: ExitCode.BAD_SPEC,
    Reason.MODEL_NOT_FOUND: ExitCode.BAD_DATA,
    Reason.DATASET_NOT_FOUND: ExitCode.BAD_DATA,
    Reason.SPLIT_NOT_FOUND: ExitCode.BAD_DATA,
    Reason.COLUMN_NOT_FOUND: ExitCode.BAD_DATA,
    Reason.UNREADABLE_DATASET: ExitCode.BAD_DATA,
    Reason.EMPTY_DATASET: ExitCode.BAD_DATA,
    Reason.BAD_SAMPLES: ExitCode.BAD_DATA,
    Reason.UNSUPPORTED_MODALITY: ExitCode.UNSUPPORTED_MODEL,
    Reason.UNSUPPORTED_MODEL: ExitCode.UNSUPPORTED_MODEL,
    Reason.TOKEN_REFUSED: ExitCode.ACCESS_REFUSED,
    Reason.WRITE_FORBIDDEN: ExitCode.ACCESS_REFUSED,
    Reason.REPOSITORY_EXISTS: ExitCode.ACCESS_REFUSED,
    Reason.HUB_UNAVAILABLE: ExitCode.HUB_UNAVAILABLE,
    Reason.PUBLISH_CONFLICT: ExitCode.HUB_UNAVAILABLE,
    Reason.TRACKER_REFUSED: ExitCode.ACCESS_REFUSED,
    Reason.TRACKER_UNAVAILABLE: ExitCode.HUB_UNAVAILABLE,
    Reason.NON_FINITE_LOSS: ExitCode.NON_FINITE_LOSS,
    Reason.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
    Reason.STORAGE_FULL: ExitCode.STORAGE_FULL,
    Reason.WORKSPACE_IN_USE: ExitCode.WORKSPACE_IN_USE,
    Reason.PREEMPTED: ExitCode.PREEMPTED,
    Reason.PEER_LOST: ExitCode.PEER_LOST,
    Reason.RANK_KILLED: ExitCode.RANK_KILLED,
    Reason.NODE_FAULT: ExitCode.NODE_FAULT,
    Reason.STORAGE_FAULT: ExitCode.STORAGE_FAULT,
    Reason.TRAINER_ERROR: ExitCode.TRAINER_ERROR,
    Reason.INTERNAL_ERROR: ExitCode.INTERNAL_ERROR,
}


def exit_code_of(reason: Reason) -> ExitCode:
    """Return the exit code of an ending; a failure without a code of its own is never taken for a success."""
    otherwise = ExitCode.SUCCESS if GUIDANCE[reason].fault is Fault.NOBODY else ExitCode.INTERNAL_ERROR
    return EXIT_CODES.get(reason, otherwise)


#: Exit codes after which trying the same container again cannot help.
FINAL_EXIT_CODES = (
    ExitCode.BAD_SPEC,
    ExitCode.BAD_DATA,
    ExitCode.UNSUPPORTED_MODEL,
    ExitCode.ACCESS_REFUSED,
    ExitCode.NON_FINITE_LOSS,
    ExitCode.STORAGE_FULL,
)


class JobIdentity(Contract):
    """Which FinetuneJob a run belongs to."""

    namespace: str
    name: str
    uid: str


class RunConfig(Contract):
    """Everything a trainer container may know besides the workspace and its token file."""

    version: int = 1
    """Version of this format; the trainer refuses one it does not know."""
    job: JobIdentity
    """The job, for logs, the model card and the commit message."""
    spec: FinetuneJobSpec
    """The spec. Where the operator writes it, without defaults and without what no trainer reads."""
    trains_anyway: bool = False
    """True to train a run also if it was published before: its owner asks for it once more, by spec.rerun."""
    simulated_accelerator: bool = False
    """True where the cluster offers accelerators that are not there: train on CPU with gloo instead of failing."""
    in_pods: bool = True
    """Whether each role has what the spec asks for; without a cluster it has what the machine has."""

    @property
    def spec_hash(self) -> str:
        """Return the part of the run's id that is known before prepare has resolved the sources."""
        return spec_hash(self.spec, world_size=self.world_size)

    @property
    def on_cpu(self) -> bool:
        """Whether the job trains without accelerators: the spec or the cluster says so."""
        return self.simulated_accelerator or self.spec.resources.accelerator.per_node == 0

    @property
    def processes_per_node(self) -> int:
        """Return the training processes per node: one per accelerator, one on CPU."""
        return self.spec.resources.processes_per_node

    @property
    def world_size(self) -> int:
        """Return the training processes over all nodes, of which a gang may lack some (spec.resources.minNodes)."""
        return self.processes_per_node * self.spec.resources.nodes


class TrainingGang(Contract):
    """A gang that trains, of which the tracker is told meanwhile."""

    attempt: Count
    """Its number."""
    run: ShortText
    """What it trains, as prepare has found it."""
    address: ShortText
    """Host name of rank 0, which is asked at `keys.TELEMETRY_PORT`."""


class TrackingTask(Contract):
    """What the track pod is told besides RunConfig: the tracker, and how the job has ended. Holds no secret."""

    tracking: Tracking
    """As in the spec."""
    phase: Phase
    """Succeeded or Failed; Training where `training` says of which gang."""
    reason: ShortText
    """Why, as in docs/reasons.md."""
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)] = ""
    """The same for people."""
    training: TrainingGang | None = None
    """The gang that trains; absent once the job has ended, which the volume tells of then."""
    step: Count | None = None
    """The last step that is known of, with `metrics`: a training that has failed may have kept nothing."""
    metrics: MetricsStatus | None = None
    """The last numbers that are known of."""
    attempts: Count = 0
    """Gangs that were made."""
    start_time: Time | None = None
    """When the operator first acted on the job, RFC 3339."""
    completion_time: Time | None = None
    """When it ended, RFC 3339."""
    usage: UsageStatus | None = None
    """What its gangs have held."""
    published: PublishedStatus | None = None
    """What is on the Hub, in a bucket or in a registry."""


#: What is trained. All other fields decide how it is run, and may change while a job runs.
TRAINED_FIELDS = ("model", "data", "training", "evaluation")


def spec_hash(spec: FinetuneJobSpec, *, world_size: int) -> str:
    """Return 12 hex digits over what is trained, and by how many processes: they make the global batch.

    Defaults do not count, so that a release with new fields finds the work of the one before (ADR 28).
    """
    content = spec.model_dump(mode="json", by_alias=True, include=set(TRAINED_FIELDS), exclude_defaults=True)
    return _digest([content, world_size])[:12]


def run_id(spec_hash: str, sources: Mapping[str, str]) -> str:
    """Return the name of a run by its content: the spec's part, and 8 hex digits over the revisions of its sources."""
    return f"{spec_hash}-{_digest(dict(sources))[:8]}"


def spec_part(run: str) -> str:
    """Return what a run's id begins with: the hash of its spec."""
    return run.partition("-")[0]


def _digest(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


#: Pods fill it in: sums of as many as there may be gangs are still a Count.
WorkSeconds = Annotated[int, Field(ge=0, le=2**40)]


class Work(Contract):
    """What training has made of its time over all attempts of this job, in seconds times processes, as rank 0 knows."""

    model_config = ConfigDict(extra="ignore")

    useful_seconds: WorkSeconds = 0
    """Steps and saving that a checkpoint or the model has."""
    evaluating_seconds: WorkSeconds = 0
    """Evaluations, of which the same is true."""
    unsaved_seconds: WorkSeconds = 0
    """Both since then."""
    resumed_seconds: WorkSeconds | None = None
    """What of the first two this gang found when it began; absent until it knows."""


class Progress(Contract):
    """What prepare and rank 0 answer at `/progress`."""

    model_config = ConfigDict(extra="ignore")

    attempt: Count
    """Gang that answers, 0 for prepare; an answer of an older one is dropped."""
    job_uid: ShortText = ""
    """Job that it works for; an answer of another one's, whose address this pod's once was, is dropped."""
    progress: ProgressStatus
    """How far it is."""
    metrics: MetricsStatus = Field(default_factory=MetricsStatus)
    """Newest numbers."""
    curve: Curve = Field(default_factory=list)
    """Loss and score over the steps so far."""
    checkpoint: CheckpointStatus | None = None
    """The newest verified checkpoint."""
    work: Work | None = None
    """What training has made of its time; prepare has none."""
    nonfinite_steps: Count = 0
    """Steps whose loss was not a number; the run stops after a few in a row."""
    last_step_time: Time | None = None
    """When the newest step ended, evaluation batch was encoded or stage begun, RFC 3339; for stall detection. By the
    clock of `progress.last_update_time`, so that their difference is right whatever that clock shows."""
    warnings: Annotated[list[Annotated[str, Field(max_length=MESSAGE_LIMIT)]], Field(max_length=MAX_WARNINGS)] = Field(
        default_factory=list
    )
    """What did not stop training but deserves a look, such as a checkpoint that was skipped."""


#: Told in place of what does not fit.
CUT = "not all that was found fits here; the pod's log and the volume (train/report.json, inputs/manifest.json) have it"


class RunResult(Contract):
    """How a container ended and what it found out. Fits a termination message."""

    model_config = ConfigDict(extra="ignore")

    role: Role
    """What the container was to do."""
    reason: Reason
    """How it ended; `EXIT_CODES` maps failures to exit codes, good ends exit with 0."""
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)] = ""
    """What happened and what to do, for people. Never holds a secret or a row of data."""
    attempt: Count = 0
    """Gang that ended; 0 outside train."""
    failed_rank: Count | None = None
    """Rank that failed first."""
    last_lines: LastLines = Field(default_factory=list)
    """The last lines of the log of that rank, oldest first."""
    run: ShortText | None = None
    """The run's id, found by prepare."""
    model: ModelStatus | None = None
    """Found by prepare."""
    datasets: list[DatasetStatus] = Field(default_factory=list)
    """Found by prepare."""
    progress: ProgressStatus | None = None
    """Where training ended."""
    metrics: MetricsStatus | None = None
    """Final numbers."""
    curve: Curve = Field(default_factory=list)
    """Loss and score over all steps; the first to be left out where there is no room."""
    evaluations: list[EvaluationScore] = Field(default_factory=list)
    """Metrics before and after."""
    checkpoint: CheckpointStatus | None = None
    """The newest verified checkpoint."""
    work: Work | None = None
    """What training has made of its time, if rank 0 said so."""
    published: PublishedStatus | None = None
    """What publish did."""
    tracking: TrackingStatus | None = None
    """What track did."""
    is_trained: bool = False
    """Found by prepare: the volume holds a finished training of this very spec, so that only publishing is left.
    What it measured is in `metrics`, `curve` and `evaluations`."""
    warnings: list[str] = Field(default_factory=list)
    """What did not stop the run but deserves a look."""

    def to_termination_message(self) -> str:
        """Return JSON of at most RESULT_LIMIT_BYTES; what does not fit is cut from the least important end."""
        lines = self.last_lines
        fewer: list[dict[str, object]] = [
            {"curve": [], "last_lines": lines[number:]} for number in range(len(lines) + 1)
        ]
        short: dict[str, object] = {"warnings": [CUT], "message": self.message[:300]}
        firsts = {score.name: score for score in reversed(self.evaluations)}
        mains = {**short, "evaluations": [*reversed(firsts.values())]}
        least = {**short, "evaluations": self.evaluations[:1], "datasets": self.datasets[:4]}
        others: list[dict[str, object]] = [
            {"warnings": [*self.warnings[:3], CUT]},
            {"warnings": [CUT]},
            short,
            mains,
            least,
        ]
        for cut in [{}, *fewer, *({**other, "last_lines": [], "curve": []} for other in others)]:
            text = self.model_copy(update=cut).model_dump_json(by_alias=True, exclude_none=True)
            if len(text.encode()) <= RESULT_LIMIT_BYTES:
                break
        return text


def round_significant(value: float, digits: int = 6) -> float:
    """Return `value` with so many significant digits, as numbers appear in status."""
    return float(f"{value:.{digits}g}")
