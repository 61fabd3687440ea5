"""What an evaluation finds out."""

from pydantic import Field

from finetune_api.base import Contract


class Scores(Contract):
    """What one model reaches on one set."""

    name: str
    """Name of the evaluation set."""
    metric: str
    """The set's first metric; `spec.evaluation.metric` wherever the set yields it."""
    values: dict[str, float]
    """Every reported metric of whole embeddings, `metric` first."""
    dimensions: dict[int, float] = Field(default_factory=dict)
    """`metric` per Matryoshka dimension, largest first."""

    @property
    def value(self) -> float:
        """Return the value of `metric`; of the judging set, the number that decides which model is best."""
        return self.values[self.metric]


class Sample(Contract):
    """What `metric` was computed from, to tell how sure an improvement is. No row of data."""

    values: list[float]
    """The metric of each query or row where it is their mean; the model's score of each row where it is not."""
    labels: list[float] = Field(default_factory=list)
    """Label of each row, where the metric is no mean over rows."""


class Measurement(Contract):
    """One model on one set."""

    scores: Scores
    sample: Sample


def scores_of(measurements: list[Measurement]) -> list[Scores]:
    """Return what is told; samples stay in the records of baseline and best model."""
    return [one.scores for one in measurements]
