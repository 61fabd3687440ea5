"""The report of a finished training, `train/report.json`: train writes it last, publish and the model card read it."""

from pathlib import Path

from pydantic import ConfigDict, Field

from finetune_api.base import Contract
from finetune_api.status import DatasetStatus, EvaluationScore, MetricsStatus, ModelStatus, Time
from finetune_trainer.workspace.manifest import FileHash
from finetune_trainer.workspace.whole_file import write_whole

#: The history of a training so far, in each checkpoint.
HISTORY = "history.json"


class CurvePoint(Contract):
    """One logged step; what was not measured there is absent."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    score: float | None = None
    """`spec.evaluation.metric` on the judging set."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Every reported metric by SET/METRIC, where the model was evaluated; absent in earlier versions."""
    time: Time | None = None
    """When that was, RFC 3339; absent in earlier versions."""


class KeptCurve(Contract):
    """What rank 0 answers at `/curve` while it trains: of the curve what no later attempt makes again."""

    model_config = ConfigDict(extra="ignore")

    attempt: int
    """Gang that answers."""
    job_uid: str = ""
    """Job that it works for."""
    is_known: bool = False
    """Whether training has begun; before that, rank 0 does not know what earlier attempts have left."""
    baseline_score: float | None = None
    """`spec.evaluation.metric` of the base model on the judging set."""
    curve: list[CurvePoint] = Field(default_factory=list)
    """That in the newest checkpoint, from which the next attempt goes on."""


class Report(Contract):
    """Everything that outlives the training pods. Holds no row of data."""

    run: str
    """The run's id."""
    model: ModelStatus
    datasets: list[DatasetStatus] = Field(default_factory=list)
    evaluations: list[EvaluationScore] = Field(default_factory=list)
    """All metrics of one set after those of another, the judging set first; the first of a set is the one that its
    dimensions and its interval are of, `spec.evaluation.metric` wherever the set yields it."""
    metrics: MetricsStatus = Field(default_factory=MetricsStatus)
    steps: int
    """Optimizer steps made, over all attempts."""
    total_steps: int
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall-clock seconds per stage, keyed by `Stage` value, over all attempts."""
    curve: list[CurvePoint] = Field(default_factory=list)
    world_size: int = 1
    files: list[FileHash] = Field(default_factory=list)
    """Those of `train/model`, relative to it."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Version per package, for example `torch: 2.15.0`."""
    warnings: list[str] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Return the report at `path`; raises FileNotFoundError before training has finished."""
        return cls.model_validate_json(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write atomically: a report that is there is whole."""
        write_whole(path, self.model_dump_json(by_alias=True, indent=1))
