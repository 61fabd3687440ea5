"""Every path of a trainer container. One volume per job is mounted at WORKSPACE in all its pods.

inputs/                 written by prepare, read by the others
  manifest.json           what is here: revisions, columns, row counts, hashes; written last
  model/                  the base model
  models/<key>/           other models that the spec names: routes, guides, miners of negatives
  data/train/<name>.parquet    columns query, positive, negative_0..., label: text, or names of images
  data/evaluation/<name>/      tables of one evaluation set, see finetune_trainer/workspace/manifest.py
  images/00000.tar        every image once, named by the SHA-256 of its bytes, in archives of some 256 MB
  images/index.arrow      where each image lies, see finetune_trainer/workspace/images.py
owner.json              the run, and the number of its gang, that may write; others stop
owner.lock              locked by every process that writes
earlier/<run>/          train/ and publish/ of another run that had this folder before
train/                  written by rank 0 of train, read by publish
  baseline.json           scores of the base model
  checkpoints/step-000100/  complete and verified, see finetune_trainer/train/checkpoints
  best/                   best model so far
  model/                  the result
  report.json             scores, curves, timings; written last
publish/                written by publish
  receipt.json            commit and tag, for a repeated run
logs/                   what the pods logged, each at most 2 MiB; see finetune_trainer/workspace/kept_log.py
  prepare.log, publish.log  of every try, the newest last
  attempt-2/rank-0.log    of a rank of a gang; the newest 5 gangs stay
  attempt-2/rank-0.log.1  the part before that, of a long log
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

WORKSPACE = "/workspace"
RUN_CONFIG = "/etc/finetune/run.json"
READ_TOKEN = "/var/run/finetune/read-token/token"  # noqa: S105 - a path
WRITE_TOKEN = "/var/run/finetune/write-token/token"  # noqa: S105 - a path
#: A file for each key of the Secret.
READ_BUCKET = "/var/run/finetune/read-bucket"
WRITE_BUCKET = "/var/run/finetune/write-bucket"
TRACKING_SECRET = "/var/run/finetune/tracking"  # noqa: S105 - a path
#: Handed from preflight to prepare, in the pod's own /tmp.
PUBLISHED_RUNS = "/tmp/finetune-published.json"  # noqa: S108 - a volume of the pod's own
CLAIM_SOURCES = "/sources"
#: Folder of an existing claim for jobs that name none. Hidden, so that no job takes the files of another for a dataset.
CLAIM_FOLDERS = ".finetune"
TERMINATION_MESSAGE = "/dev/termination-log"


@dataclass(frozen=True)
class Workspace:
    """Paths below the root of a job's volume."""

    root: Path

    @classmethod
    def on_volume(cls, folder: str) -> "Workspace":
        """Return the workspace with paths as they are on the volume, not in a container."""
        return cls(Path(folder))

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    @property
    def manifest(self) -> Path:
        return self.inputs / "manifest.json"

    @property
    def base_model(self) -> Path:
        return self.inputs / "model"

    @property
    def images(self) -> Path:
        return self.inputs / "images"

    def other_model(self, source: str, revision: str) -> Path:
        """Return the folder of a model that is not spec.model itself; equal sources share one."""
        return self.inputs / "models" / hashlib.sha256(f"{source}@{revision}".encode()).hexdigest()[:16]

    def train_table(self, name: str) -> Path:
        """Return the table of the training set `name`, as it is called in the spec."""
        return self.inputs / "data" / "train" / f"{name}.parquet"

    def evaluation_folder(self, name: str) -> Path:
        """Return the folder of the evaluation set `name`, as it is called in the spec."""
        return self.inputs / "data" / "evaluation" / name

    @property
    def train(self) -> Path:
        return self.root / "train"

    @property
    def owner(self) -> Path:
        return self.root / "owner.json"

    @property
    def lock(self) -> Path:
        return self.root / "owner.lock"

    @property
    def made(self) -> tuple[Path, ...]:
        """Return the folders of what only this run can have made."""
        return (self.train, self.receipt.parent)

    def earlier(self, run: str) -> Path:
        """Return where what another run made is kept, by its hash."""
        return self.root / "earlier" / run

    @property
    def baseline(self) -> Path:
        return self.train / "baseline.json"

    @property
    def checkpoints(self) -> Path:
        return self.train / "checkpoints"

    @property
    def best_model(self) -> Path:
        return self.train / "best"

    @property
    def model(self) -> Path:
        return self.train / "model"

    @property
    def report(self) -> Path:
        return self.train / "report.json"

    @property
    def receipt(self) -> Path:
        return self.root / "publish" / "receipt.json"

    def role_log(self, role: str) -> Path:
        """Return the log of prepare or publish."""
        return self.root / "logs" / f"{role}.log"

    def rank_log(self, attempt: int, rank: int) -> Path:
        """Return the log of one rank of a gang."""
        return self.root / "logs" / f"attempt-{attempt}" / f"rank-{rank}.log"


def older_log(log: Path) -> Path:
    """Return where the part of a log lies that came before it."""
    return log.with_name(f"{log.name}.1")


def claim_mount(claim: str) -> str:
    """Return where the volume claim of a `pvc://` source is mounted, read-only, in prepare."""
    return f"{CLAIM_SOURCES}/{claim}"
