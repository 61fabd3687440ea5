"""What happened so far, over all attempts: it goes into each checkpoint and at the end into the report."""

from pathlib import Path

from pydantic import ConfigDict, Field

from finetune_api.base import Contract
from finetune_api.contract import Stage
from finetune_trainer.train.evaluation.measurement import Scores
from finetune_trainer.workspace.report import CurvePoint

USEFUL = (Stage.TRAINING, Stage.SAVING)
EVALUATING = (Stage.BASELINE, Stage.EVALUATING)


class Made(Contract):
    """What was made of the gang's time, in seconds times processes."""

    job_uid: str = ""
    """The job that it was made for: a volume may have the checkpoints of one before."""
    useful: float = 0.0
    evaluating: float = 0.0

    def plus(self, stage: str, seconds: float) -> "Made":
        """Return the same with time that was spent in a stage."""
        useful, evaluating = (seconds if stage in kind else 0.0 for kind in (USEFUL, EVALUATING))
        return self.model_copy(update={"useful": self.useful + useful, "evaluating": self.evaluating + evaluating})


class History(Contract):
    """Grows while training runs; the one mutable model."""

    model_config = ConfigDict(frozen=False)

    curve: list[CurvePoint] = Field(default_factory=list)
    evaluated_step: int = 0
    """Step of the newest evaluation; 0 before the first."""
    latest: list[Scores] = Field(default_factory=list)
    """Scores of the newest evaluation, those on the judging set first; none before it."""
    nonfinite_steps: int = 0
    """Steps that were left out because their loss or gradient was not a number."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall-clock seconds per stage."""
    made: Made = Field(default_factory=Made)
    """The same as the operator counts it."""
    warnings: list[str] = Field(default_factory=list)
    """What did not stop training but deserves a look."""

    @classmethod
    def read(cls, path: Path) -> "History":
        """Return the history at `path`."""
        return cls.model_validate_json(path.read_bytes())

    def content(self) -> bytes:
        """Return what `read` reads."""
        return self.model_dump_json(by_alias=True).encode()
