"""Which numbers are reported for which set."""

from collections.abc import Sequence

from finetune_api.evaluators import Evaluator, yields
from finetune_api.gate import effective_gate
from finetune_api.sense import evaluation_sets, judging_set, objective_of
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.workspace.manifest import PreparedEvaluation

#: Reported besides the metric that was chosen; the first is the one that counts where that is none of the evaluator's.
#: MAP of up to 100 candidates is the library's MAP without @k.
STANDARD_METRICS: dict[Evaluator, tuple[str, ...]] = {
    Evaluator.INFORMATION_RETRIEVAL: ("ndcg@10", "mrr@10", "recall@10"),
    Evaluator.RERANKING: ("ndcg@10", "mrr@10", "map@100"),
    Evaluator.TRIPLET: ("accuracy",),
    Evaluator.EMBEDDING_SIMILARITY: ("spearman", "pearson"),
    Evaluator.BINARY_CLASSIFICATION: ("ap", "f1", "accuracy"),
}
#: Prefix, as the library's, of what the candidates reach in the order in which they were given.
GIVEN_ORDER = "base_"
#: Of the interval of an improvement, where no gate names one.
CONFIDENCE = 0.95


def judging_first(spec: FinetuneJobSpec, prepared: Sequence[PreparedEvaluation]) -> list[PreparedEvaluation]:
    """Return the prepared sets, the one that spec.evaluation.metric is taken from first."""
    judging = judging_set(spec)
    return sorted(prepared, key=lambda one: judging is not None and one.name != judging.name)


def metrics_of(spec: FinetuneJobSpec, evaluator: Evaluator) -> tuple[str, ...]:
    """Return what is reported of a set: the spec's metric first where the evaluator yields it, else the usual one."""
    wanted = (spec.evaluation.metric, *STANDARD_METRICS[evaluator], *spec.evaluation.also_report)
    return tuple(dict.fromkeys(metric for metric in wanted if yields(evaluator, metric)))


def cutoff(metric: str) -> int:
    """Return the k of `ndcg@k`."""
    return int(metric.partition("@")[2])


def trained_dimensions(spec: FinetuneJobSpec) -> tuple[int, ...]:
    """Return the Matryoshka dimensions of all training sets' losses, largest first."""
    losses = [objective_of(spec, dataset) for dataset in spec.data.train]
    return tuple(sorted({size for loss in losses for size in loss.matryoshka_dimensions}, reverse=True))


def candidates_are_ranked(spec: FinetuneJobSpec, name: str) -> bool:
    """Say whether the candidates of the set `name` come in an order that means something: as lists of documents."""
    columns = next((dataset.columns for dataset in evaluation_sets(spec).values() if dataset.name == name), None)
    return columns is not None and columns.documents is not None


def confidence_of(spec: FinetuneJobSpec) -> float:
    """Return the confidence at which improvements are told."""
    gate = effective_gate(spec)
    return CONFIDENCE if gate is None or gate.confidence is None else gate.confidence
