"""What the shell saw of one FinetuneJob's children, frozen. `core/views.py` makes it from manifests."""

from dataclasses import dataclass
from datetime import datetime

from finetune_api.contract import Progress, Role, RunResult
from finetune_api.reasons import Reason
from finetune_operator.core.sharing import Claimant

#: Runtimes' words for a container whose program was not found or could not be started.
NEVER_RAN = ("StartError", "ContainerCannotRun")
#: Kubelets' word for a container that they do not find any more.
STATUS_UNKNOWN = "ContainerStatusUnknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Termination:
    """How a container ended."""

    exit_code: int
    reason: str = ""
    """The runtime's word: Completed, Error, OOMKilled."""
    words: str = ""
    """Why the runtime could not start it, in its own words."""
    finished_at: datetime | None = None
    result: RunResult | None = None
    """What the trainer said about it, if its termination message could be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerView:
    """One container of a pod."""

    name: str
    image_id: str = ""
    """What its node has pulled, with the digest."""
    running: bool = False
    waiting_reason: str = ""
    waiting_message: str = ""
    termination: Termination | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildView:
    """What Jobs and pods have in common."""

    name: str
    namespace: str = ""
    uid: str
    owner_uid: str = ""
    """Of the object that controls it: a FinetuneJob controls Jobs, a Job controls pods. Empty if none does."""
    resource_version: int = 0
    role: Role
    attempt: int = 0
    """Number of the gang; 0 outside training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodView(ChildView):
    """One pod of a child Job."""

    index: int = 0
    """Completion index; the node rank of a training pod."""
    phase: str = "Pending"
    """By the container of the pod's role: once that has ended, the pod has, whatever else still runs in it."""
    is_held: bool = False
    """Our containers have ended, and what is beside them holds the pod and what it was given, or has failed it."""
    address: str = ""
    node: str = ""
    gone_at: datetime | None = None
    """Set once it is being deleted: the end of its grace period."""
    left_at: datetime | None = None
    """When it was told to go: `gone_at` without the grace period."""
    scheduled_at: datetime | None = None
    unscheduled: str = ""
    """Why the scheduler has found no node yet, in its own words."""
    unscheduled_since: datetime | None = None
    disruption: str = ""
    """Reason of the DisruptionTarget condition: the cluster takes the pod away."""
    disruption_message: str = ""
    note: str = ""
    """Why the kubelet refused or evicted the pod, in its own words."""
    is_unheard: bool = False
    """Whether the node's controller, and not its kubelet, says that the pod is not ready: the node is silent."""
    containers: tuple[ContainerView, ...] = ()
    """Init containers first."""

    @property
    def own_containers(self) -> tuple[ContainerView, ...]:
        """Return those that we asked for; what a cluster puts beside them decides nothing."""
        return tuple(one for one in self.containers if one.name in (self.role, Role.PREFLIGHT))

    @property
    def is_node_dead(self) -> bool:
        """Tell whether its node does not answer; of a pod that never ran, whether a taint drove it out."""
        has_begun = any(one.running or one.termination is not None for one in self.containers)
        return self.is_unheard or (not has_begun and self.disruption == "DeletionByTaintManager")

    @property
    def is_terminal(self) -> bool:
        """Tell whether our containers have ended for good."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView(ChildView):
    """One child Job."""

    config: str = ""
    """The ConfigMap that its pods mount, another one for each version of the spec."""
    num_pods: int = 1
    """How many it wants at a time."""
    is_gang_scheduled: bool = False
    """Whether a PodGroup of its name belongs to it."""
    started_at: datetime | None = None
    """When it began to make pods: at first, or after a suspension."""
    is_deleting: bool = False
    gone_at: datetime | None = None
    """When it was told to go."""
    finalizers: tuple[str, ...] = ()
    """Those that Kubernetes itself did not set."""
    is_suspended: bool = False
    held_since: datetime | None = None
    """When it was suspended; None again once the Job controller has resumed it."""
    is_complete: bool = False
    is_failed: bool = False
    failure: str = ""
    """The Job controller's words."""
    finished_at: datetime | None = None

    @property
    def is_held(self) -> bool:
        """Tell whether a queue holds the Job back."""
        return self.is_suspended and not self.is_finished and not self.is_deleting

    @property
    def is_finished(self) -> bool:
        """Tell whether the Job ended, well or not."""
        return self.is_complete or self.is_failed


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressReport:
    """What prepare or rank 0 answered last, and how it was before; made by `core/listening.py`."""

    attempt: int
    pod_uid: str = ""
    """The pod that is asked; the report goes with it."""
    progress: Progress | None = None
    seen_still_seconds: float = 0.0
    """How long this operator has seen answers that show no new step or stage."""
    told_still_seconds: float = 0.0
    """How long that was so before, by what rank 0 said when it was first asked."""
    answered_at: float | None = None
    """When the last answer came; monotonic, as all times here."""
    num_unanswered: int = 0
    """Questions since then without an answer."""
    silent_since: float | None = None
    """When the first of them was asked."""
    silence: str = ""
    """Why rank 0 gives no answer, in words; empty while it does, and for the first minute."""

    @property
    def still_seconds(self) -> float:
        """Return how long rank 0 has made no step, as far as its answers tell."""
        return self.seen_still_seconds + self.told_still_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Why a pod does not start, and since when the operator has seen it so."""

    pod_uid: str
    reason: Reason
    message: str
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One Event about a pod or a Job."""

    message: str
    is_warning: bool = True
    seen_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why the API server does not let a Job have its pods, or a queue does not admit it."""

    job_uid: str
    message: str
    is_of_queue: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimState:
    """How the volume claim made for a job should be."""

    size: str
    goes_with_job: bool
    """Whether it is removed with the FinetuneJob."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimAnswer:
    """What this operator has asked of the claim, and what the API server said."""

    state: ClaimState
    refusal: str = ""
    """Why it does not agree; empty if it does, or if the claim is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """Everything a decision may know besides the job itself and the time."""

    jobs: tuple[JobView, ...] = ()
    pods: tuple[PodView, ...] = ()
    newest_attempt: int = 0
    """Of all gangs whose Jobs this process has made or seen, be they gone by now; 0: of none."""
    progress: ProgressReport | None = None
    troubles: tuple[Trouble, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    rejection: str = ""
    """What the API server said when it refused a child for good."""
    obstacle: str = ""
    """Why a child could not be made just now, as a quota, a policy or a name that is taken."""
    workspace_holder: Claimant | None = None
    """Another job that has this one's folder of an existing claim, or is to have it first."""
    gang_ahead: str = ""
    """Name of the job whose gang is made before this one's, of those that were given back."""
    claim_modes: tuple[str, ...] = ()
    """Access modes of the existing claim that several nodes are to share; empty if that is not known."""
    rival: str = ""
    """Which other job publishes to the same branch of a repository, in words; looked for before this one begins."""
    is_claim_shared: bool = False
    """Whether another job of the namespace names the claim made for this one, which has ended."""
    claim: ClaimAnswer | None = None
    """What this operator has asked of the claim made for the job."""
    is_cleared: bool = False
    """Whether this operator, when it last removed things, found none of them left."""
    seconds_to_progress: float = 0.0
    """How long new progress waits to go into the status; changes of the phase never do."""

    @property
    def is_progress_due(self) -> bool:
        """Tell whether new progress may go into the status now."""
        return self.seconds_to_progress <= 0

    def job(self, role: Role, *, attempt: int = 0) -> JobView | None:
        """Return the Job of a role (and gang), or None."""
        return next((job for job in self.jobs if job.role == role and job.attempt == attempt), None)

    def pods_of(self, role: Role, *, attempt: int = 0) -> tuple[PodView, ...]:
        """Return the pods of a role (and gang) by index."""
        found = [pod for pod in self.pods if pod.role == role and pod.attempt == attempt]
        return tuple(sorted(found, key=lambda pod: (pod.index, pod.name)))
