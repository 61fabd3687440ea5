"""Every path of a trainer container. One volume per job is mounted at WORKSPACE in all its pods.

inputs/                 written by prepare, read by the others
  manifest.json           what is here: revisions, columns, row counts, hashes; written last
  model/                  the base model
  models/<key>/           other models that the spec names: routes, guides, miners of negatives
  data/train/<name>.parquet    columns query, positive, negative_0..., label: text, or paths below inputs/images
  data/evaluation/<name>/      tables of one evaluation set, see finetune_trainer/data/manifest.py
  images/ab/abcdef...png  every image once, named by the SHA-256 of its bytes
train/                  written by rank 0 of train, read by publish
  attempt                 number of the gang that may write; an older one stops
  baseline.json           scores of the base model
  checkpoints/step-000100/  complete and verified, see finetune_trainer/checkpoints
  best/                   best model so far
  model/                  the result
  report.json             scores, curves, timings; written last
publish/                written by publish
  receipt.json            commit and tag, for a repeated run
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

WORKSPACE = "/workspace"
RUN_CONFIG = "/etc/finetune/run.json"
READ_TOKEN = "/var/run/finetune/read-token/token"  # noqa: S105 - a path
WRITE_TOKEN = "/var/run/finetune/write-token/token"  # noqa: S105 - a path
CLAIM_SOURCES = "/sources"
TERMINATION_MESSAGE = "/dev/termination-log"


@dataclass(frozen=True)
class Workspace:
    """Paths below the root of a job's volume."""

    root: Path

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
    def attempt(self) -> Path:
        return self.train / "attempt"

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


def claim_mount(claim: str) -> str:
    """Return where the volume claim of a `pvc://` source is mounted, read-only, in prepare."""
    return f"{CLAIM_SOURCES}/{claim}"
