"""Labels, annotations, environment names and ports that more than one component relies on."""

from finetune_api.types import GROUP

FIELD_MANAGER = "finetune-operator"

# Labels of every child object.
LABEL_JOB = f"{GROUP}/job"
LABEL_JOB_UID = f"{GROUP}/job-uid"
LABEL_ROLE = f"{GROUP}/role"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
LABEL_KUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
LABEL_KUEUE_JOB = "kueue.x-k8s.io/job-uid"
# Kubernetes' own label on pods of an Indexed Job.
LABEL_COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"

ANNOTATION_SPEC_HASH = f"{GROUP}/spec-hash"
# The ConfigMap that a child Job mounts; its name tells by which version of the spec the Job was made.
ANNOTATION_RUN_CONFIG = f"{GROUP}/run-config"

# Environment of trainer containers.
ENV_ATTEMPT = "FINETUNE_ATTEMPT"
ENV_IMAGE = "FINETUNE_IMAGE"
ENV_RUN_CONFIG = "FINETUNE_RUN_CONFIG"
ENV_WORKSPACE = "FINETUNE_WORKSPACE"
ENV_READ_TOKEN_FILE = "FINETUNE_READ_TOKEN_FILE"  # noqa: S105 - the name of a variable
ENV_WRITE_TOKEN_FILE = "FINETUNE_WRITE_TOKEN_FILE"  # noqa: S105 - the name of a variable
ENV_READ_BUCKET_FOLDER = "FINETUNE_READ_BUCKET_FOLDER"
ENV_WRITE_BUCKET_FOLDER = "FINETUNE_WRITE_BUCKET_FOLDER"
ENV_TRACKING_TASK = "FINETUNE_TRACKING_TASK"
ENV_TRACKING_SECRET_FOLDER = "FINETUNE_TRACKING_SECRET_FOLDER"  # noqa: S105 - the name of a variable
ENV_PUBLISHED_RUNS = "FINETUNE_PUBLISHED_RUNS"
ENV_CLAIM_SOURCES = "FINETUNE_CLAIM_SOURCES"
ENV_TERMINATION_MESSAGE = "FINETUNE_TERMINATION_MESSAGE"
ENV_TELEMETRY_PORT = "FINETUNE_TELEMETRY_PORT"

# Ports of training pods.
RENDEZVOUS_PORT = 29500
TELEMETRY_PORT = 9400
