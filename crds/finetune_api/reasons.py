"""Every reason a condition, an Event or a RunResult may carry: who is at fault, whether to retry, what to do next.

The table is the public list: `docs/reasons.md` is generated from it, metrics and tests use the same names.
"""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Whose move it is. Decides the retry budget that a failure is charged to."""

    NOBODY = "Nobody"
    USER = "User"
    INFRASTRUCTURE = "Infrastructure"
    OPERATOR = "Operator"


class Reason(StrEnum):
    """CamelCase reasons, stable names of the public surface."""

    # On the way
    ACCEPTED = "Accepted"
    PREPARING = "Preparing"
    VALIDATED = "Validated"
    WAITING_FOR_GANG = "WaitingForGang"
    UNSCHEDULABLE = "Unschedulable"
    BLOCKED = "Blocked"
    POD_NOT_STARTED = "PodNotStarted"
    PODS_REFUSED = "PodsRefused"
    GANG_RETURNED = "GangReturned"
    POD_STUCK = "PodStuck"
    QUEUED = "Queued"
    TRAINING = "Training"
    RESTARTING = "Restarting"
    TRAINED = "Trained"
    NO_ANSWER = "NoAnswer"
    PUBLISHING = "Publishing"
    SUSPENDED = "Suspended"
    TRACKING = "Tracking"
    # Good ends
    PUBLISHED = "Published"
    ALREADY_PUBLISHED = "AlreadyPublished"
    COMPLETED = "Completed"
    GATE_NOT_MET = "GateNotMet"
    MODEL_UNCHANGED = "ModelUnchanged"
    PUBLISH_SKIPPED = "PublishSkipped"
    TRACKED = "Tracked"
    # The user's move
    INVALID_SPEC = "InvalidSpec"
    MODEL_NOT_FOUND = "ModelNotFound"
    DATASET_NOT_FOUND = "DatasetNotFound"
    SPLIT_NOT_FOUND = "SplitNotFound"
    COLUMN_NOT_FOUND = "ColumnNotFound"
    UNREADABLE_DATASET = "UnreadableDataset"
    EMPTY_DATASET = "EmptyDataset"
    BAD_SAMPLES = "BadSamples"
    UNSUPPORTED_MODEL = "UnsupportedModel"
    UNSUPPORTED_MODALITY = "UnsupportedModality"
    INVALID_ARGUMENT = "InvalidArgument"
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105 - a reason, not a token
    WRITE_FORBIDDEN = "WriteForbidden"
    REPOSITORY_EXISTS = "RepositoryExists"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a secret
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    NON_FINITE_LOSS = "NonFiniteLoss"
    OUT_OF_MEMORY = "OutOfMemory"
    STORAGE_FULL = "StorageFull"
    VOLUME_NOT_SHARED = "VolumeNotShared"
    WORKSPACE_IN_USE = "WorkspaceInUse"
    TRAINER_ERROR = "TrainerError"
    LIMIT_EXCEEDED = "LimitExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    QUEUE_TIMEOUT = "QueueTimeout"
    TRACKER_REFUSED = "TrackerRefused"
    # The platform's move
    HUB_UNAVAILABLE = "HubUnavailable"
    PUBLISH_CONFLICT = "PublishConflict"
    TRACKER_UNAVAILABLE = "TrackerUnavailable"
    RANK_KILLED = "RankKilled"
    PEER_LOST = "PeerLost"
    NODE_LOST = "NodeLost"
    NODE_FAULT = "NodeFault"
    STORAGE_FAULT = "StorageFault"
    PREEMPTED = "Preempted"
    PROGRESS_STALLED = "ProgressStalled"
    # Ours
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True)
class Guidance:
    """What a reason means for budgets and for the reader."""

    fault: Fault
    retried: bool
    next_step: str


def _user(next_step: str, *, retried: bool = False) -> Guidance:
    return Guidance(fault=Fault.USER, retried=retried, next_step=next_step)


def _infrastructure(next_step: str) -> Guidance:
    return Guidance(fault=Fault.INFRASTRUCTURE, retried=True, next_step=next_step)


def _nobody(next_step: str = "") -> Guidance:
    return Guidance(fault=Fault.NOBODY, retried=False, next_step=next_step)


GUIDANCE: dict[Reason, Guidance] = {
    Reason.ACCEPTED: _nobody(),
    Reason.PREPARING: _nobody(),
    Reason.VALIDATED: _nobody(),
    Reason.WAITING_FOR_GANG: _nobody("Wait: training starts when every pod of the gang runs."),
    Reason.UNSCHEDULABLE: _nobody("Free accelerators or quota, or change resources, nodeSelector or tolerations."),
    Reason.BLOCKED: _nobody("Ask for more quota or mend what the message names; it is tried again by itself."),
    Reason.POD_NOT_STARTED: _nobody("Mend what the message names, or wait: the pod starts as soon as it can."),
    Reason.PODS_REFUSED: _nobody(
        "Mend what the message names: a quota, a limit range, Pod Security or a webhook; it is tried again by itself."
    ),
    Reason.GANG_RETURNED: _nobody("Wait: the gang is made again by itself. It needs all of its nodes at once."),
    Reason.POD_STUCK: _nobody(
        "Look at the node: a process or a volume there does not let go. Once nothing of the pod runs any more, "
        "`kubectl delete pod --force` lets the job go on."
    ),
    Reason.QUEUED: _nobody("Wait for the queue to admit the Job."),
    Reason.TRAINING: _nobody(),
    Reason.RESTARTING: _nobody(),
    Reason.TRAINED: _nobody(),
    Reason.NO_ANSWER: _nobody(
        "Nothing is restarted for this. Let the operator reach port 9400 of the job's pods, past NetworkPolicies and "
        "meshes, to see progress and to have a gang that hangs restarted."
    ),
    Reason.PUBLISHING: _nobody(),
    Reason.SUSPENDED: _nobody("Set spec.suspend to false to resume from the newest checkpoint."),
    Reason.TRACKING: _nobody("Wait: the tracker is told; whatever comes of that changes nothing of the job."),
    Reason.TRACKED: _nobody(),
    Reason.PUBLISHED: _nobody(),
    Reason.ALREADY_PUBLISHED: _nobody("A new text in spec.rerun trains it all the same."),
    Reason.COMPLETED: _nobody(),
    Reason.GATE_NOT_MET: _nobody(
        "The model stays on the volume; lower publish.gate, or set publish.always, and set spec.rerun to a new text to "
        "publish it: nothing is trained again."
    ),
    Reason.MODEL_UNCHANGED: _nobody(
        "In a new FinetuneJob train longer, raise training.learningRate, freeze less, or train in float32: small steps "
        "are lost in bfloat16."
    ),
    Reason.PUBLISH_SKIPPED: _nobody(
        "The model stays on the volume; set publish.ifExists to Update, or choose another target in "
        "spec.publish, and set spec.rerun to a new text to publish it: nothing is trained again."
    ),
    Reason.INVALID_SPEC: _user(
        "Correct the named fields; if the job has failed, set spec.rerun to a new text. What is trained can only be "
        "corrected in a new FinetuneJob."
    ),
    Reason.MODEL_NOT_FOUND: _user(
        "Check model.source and model.revision, and hub.tokenSecret or buckets.secretName for a private model."
    ),
    Reason.DATASET_NOT_FOUND: _user(
        "Check the dataset's source and revision, and hub.tokenSecret or buckets.secretName for a private one."
    ),
    Reason.SPLIT_NOT_FOUND: _user("Name one of the splits that are there."),
    Reason.COLUMN_NOT_FOUND: _user("Name columns that are there."),
    Reason.UNREADABLE_DATASET: _user("Mend the named file of the dataset."),
    Reason.EMPTY_DATASET: _user("Point the dataset at a split with rows that can be used."),
    Reason.BAD_SAMPLES: _user("Mend the named rows, or raise data.maxBadSampleRatio."),
    Reason.UNSUPPORTED_MODEL: _user("Use a model that Sentence Transformers can load."),
    Reason.UNSUPPORTED_MODALITY: _user("Use a model that encodes images, or text columns."),
    Reason.INVALID_ARGUMENT: _user("Correct the named argument in a new FinetuneJob."),
    Reason.TOKEN_REFUSED: _user("Put a valid token, or valid keys, into the Secret and set spec.rerun to a new text."),
    Reason.WRITE_FORBIDDEN: _user(
        "Give token or keys write access to the target of spec.publish and set spec.rerun to a new text, "
        "or name a repository of your own first."
    ),
    Reason.REPOSITORY_EXISTS: _user(
        "Choose another target in spec.publish, or publish.ifExists: Update, and set spec.rerun to a new text."
    ),
    Reason.SECRET_NOT_FOUND: _user(
        "Create the named Secret in the job's namespace; if the job has failed, set spec.rerun to a new text."
    ),
    Reason.IMAGE_UNAVAILABLE: _user(
        "Correct spec.image or its pull secret; if the job has failed, set spec.rerun to a new text."
    ),
    Reason.NON_FINITE_LOSS: _user("Lower training.learningRate, or train in float32, in a new FinetuneJob."),
    Reason.OUT_OF_MEMORY: _user(
        "Ask for more memory, and set spec.rerun to a new text if the job has failed; or lower mini_batch_size, "
        "perDeviceTrainBatchSize or image size in a new FinetuneJob.",
        retried=True,
    ),
    Reason.STORAGE_FULL: _user(
        "Raise storage.size, where the storage class lets volumes grow, or remove what is not needed; then set "
        "spec.rerun to a new text to go on from the newest checkpoint."
    ),
    Reason.VOLUME_NOT_SHARED: _user(
        "Name a claim with access mode ReadWriteMany, or one node, in a new FinetuneJob; or make the claim anew and "
        "set spec.rerun to a new text."
    ),
    Reason.WORKSPACE_IN_USE: _user(
        "Wait for that job to end, or give one of them a folder of its own in a new FinetuneJob: leave out "
        "storage.subPath, or name another. If this job has failed, a new text in spec.rerun tries again."
    ),
    Reason.TRAINER_ERROR: _user("Read the log, which stays on the volume.", retried=True),
    Reason.LIMIT_EXCEEDED: _user(
        "Raise the limit that the message names (resources.sharedMemory for the volume shared-memory), or write less.",
        retried=True,
    ),
    Reason.DEADLINE_EXCEEDED: _user(
        "Raise the limit that the message names and set spec.rerun to a new text to go on from the newest checkpoint."
    ),
    Reason.QUEUE_TIMEOUT: _user(
        "Raise schedule.queueTimeoutSeconds, ask for fewer nodes or another queue, and set spec.rerun to a new text."
    ),
    Reason.TRACKER_REFUSED: _user(
        "The job itself is not touched by this. Correct spec.tracking or its Secret, or give it the right to write, "
        "and set spec.rerun to a new text: nothing is trained again."
    ),
    Reason.HUB_UNAVAILABLE: _infrastructure(
        "Wait, or check that the cluster reaches Hub, bucket or registry; if the job has failed, set spec.rerun to a "
        "new text."
    ),
    Reason.PUBLISH_CONFLICT: _infrastructure("Wait: another commit went in at the same time; it is tried again."),
    Reason.TRACKER_UNAVAILABLE: _infrastructure(
        "The job itself is not touched by this. Check that the cluster reaches the tracker, and set spec.rerun to a "
        "new text once it does: nothing is trained again."
    ),
    Reason.RANK_KILLED: _infrastructure("Look at the node's events when it happens again."),
    Reason.PEER_LOST: _infrastructure("Look at the other ranks and at the network between the nodes."),
    Reason.NODE_LOST: _infrastructure("Look at the node."),
    Reason.NODE_FAULT: _infrastructure(
        "Look at the node: its accelerators, their driver and the container runtime. For a day gangs of this job run "
        "elsewhere, where there is room."
    ),
    Reason.STORAGE_FAULT: _infrastructure("Look at the storage behind the job's volume, and at its mount on the node."),
    Reason.PREEMPTED: _infrastructure("Wait: the gang resumes where it stopped."),
    Reason.PROGRESS_STALLED: _infrastructure(
        "Read in the ranks' logs where each of them stood, or raise stallTimeoutSeconds."
    ),
    Reason.INTERNAL_ERROR: Guidance(Fault.OPERATOR, retried=True, next_step="Please report this with the log."),
}
