# ruff: noqa: N806 - tensors carry their shape in their names
"""One evaluation: encode queries and documents once over all ranks, then score every dimension on the writer."""

from dataclasses import dataclass

from pydantic import Field

from finetune_api.base import Contract
from finetune_trainer.evaluation.dataset import RetrievalSet
from finetune_trainer.evaluation.encode import Encoder
from finetune_trainer.evaluation.score import STANDARD_METRICS, score


class Scores(Contract):
    """What one model reaches on one set."""

    name: str
    """Name of the evaluation set."""
    metric: str
    """`spec.evaluation.metric`."""
    values: dict[str, float]
    """Every reported metric of whole embeddings, the spec's first."""
    dimensions: dict[int, float] = Field(default_factory=dict)
    """`metric` per Matryoshka dimension, largest first."""

    @property
    def value(self) -> float:
        """Return the number that decides which model is best."""
        return self.values[self.metric]


@dataclass(frozen=True)
class Evaluation:
    """What to measure on which set. The same path serves baseline, training and the end."""

    dataset: RetrievalSet
    metric: str
    dimensions: tuple[int, ...] = ()

    def run(self, encoder: Encoder) -> Scores:
        """Return the scores of the encoder's model, the same on every rank."""
        queries_QD = encoder.encode(self.dataset.queries, role="query")
        documents_ND = encoder.encode(self.dataset.documents, role="document")

        def at(dimension: int, *metrics: str) -> dict[str, float]:
            return score(
                self.dataset,
                queries_QD=queries_QD,
                documents_ND=documents_ND,
                dimension=dimension,
                metrics=metrics,
                similarity=encoder.model.similarity,
            )

        scores = None
        if encoder.ranks.is_writer:
            whole = at(queries_QD.shape[1], *dict.fromkeys((self.metric, *STANDARD_METRICS)))
            cut = {dimension: at(dimension, self.metric)[self.metric] for dimension in self.dimensions}
            scores = Scores(name=self.dataset.name, metric=self.metric, values=whole, dimensions=cut)
        shared: Scores = encoder.ranks.share(scores)
        return shared
