"""One evaluation: all sets are read by the model once, over all ranks; then every metric is computed on the writer."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune_trainer.train.evaluation.dataset import EvaluationSet
from finetune_trainer.train.evaluation.encode import Encoder
from finetune_trainer.train.evaluation.measurement import Measurement, Scores
from finetune_trainer.train.evaluation.pairs import PairScorer
from finetune_trainer.train.evaluation.score import Seen, score


@dataclass(frozen=True)
class Evaluation:
    """What to measure on which set. The same path serves baseline, training and the end."""

    dataset: EvaluationSet
    metric: str
    dimensions: tuple[int, ...] = ()
    others: tuple[str, ...] = ()
    """Metrics that are reported besides, of whole embeddings."""

    def run(self, reader: Encoder | PairScorer) -> Scores:
        """Return the scores of the reader's model on this set alone, the same on every rank."""
        (measurement,) = measure([self], reader)
        return measurement.scores

    def score(self, seen: Seen) -> Measurement:
        """Return every metric of what the model made of the set."""
        whole = score(self.dataset, seen, tuple(dict.fromkeys((self.metric, *self.others))))
        cut = {size: score(self.dataset, seen, (self.metric,), dimension=size) for size in self.dimensions}
        scores = Scores(
            name=self.dataset.name,
            metric=self.metric,
            values=whole.values,
            dimensions={size: found.values[self.metric] for size, found in cut.items()},
        )
        return Measurement(scores=scores, sample=whole.sample)


def measure(evaluations: Sequence[Evaluation], reader: Encoder | PairScorer) -> list[Measurement]:
    """Return what the reader's model reaches on every set, the same on every rank."""
    seen = reader.read([evaluation.dataset for evaluation in evaluations])
    ranks = reader.shares.ranks
    measured = [evaluation.score(seen) for evaluation in evaluations] if ranks.is_writer else None
    shared: list[Measurement] = ranks.share(measured)
    return shared
