"""One evaluation: all sets are read by the model once, over all ranks; then all of them score."""

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
    metrics: tuple[str, ...]
    """What is reported of whole embeddings; the first is the one that the set is judged by."""
    dimensions: tuple[int, ...] = ()
    """In which that one is measured, too."""

    def score(self, seen: Seen) -> Measurement:
        """Return every metric of what the model made of the set."""
        metric, whole = self.metrics[0], score(self.dataset, seen, self.metrics)
        cut = {size: score(self.dataset, seen, (metric,), dimension=size) for size in self.dimensions}
        scores = Scores(
            name=self.dataset.name,
            metric=metric,
            values=whole.values,
            dimensions={size: found.values[metric] for size, found in cut.items()},
        )
        return Measurement(scores=scores, sample=whole.sample)


def measure(evaluations: Sequence[Evaluation], reader: Encoder | PairScorer) -> list[Measurement]:
    """Return what the reader's model reaches on every set, the same on every rank."""
    seen = reader.read([evaluation.dataset for evaluation in evaluations])
    # All ranks score, as each has only its part; the writer's word counts, should their processors round differently.
    shared: list[Measurement] = reader.shares.ranks.share([evaluation.score(seen) for evaluation in evaluations])
    return shared
