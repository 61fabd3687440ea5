"""Whether the trained model is better enough to be published."""

from collections.abc import Sequence

from finetune_api.status import EvaluationScore
from finetune_api.types import Gate

_ROUNDING = 1e-9


def main_score(evaluations: Sequence[EvaluationScore], metric: str) -> EvaluationScore | None:
    """Return the score of `metric` on the first evaluation set, None if nothing was evaluated."""
    return next((score for score in evaluations if score.metric == metric), None)


def shortfall(gate: Gate | None, score: EvaluationScore | None) -> str | None:
    """Return why the gate is not met, None if it is or there is none."""
    if gate is None:
        return None
    if score is None or score.baseline is None or score.final is None:
        return "publish.gate: the metric was not measured before and after training, so the improvement is unknown"
    improvement = score.final - score.baseline
    if improvement >= gate.min_improvement - _ROUNDING:
        return None
    return (
        f"publish.gate: {score.metric} on {score.name} went from {score.baseline:.4f} to {score.final:.4f}, "
        f"an improvement of {improvement:.4f} where {gate.min_improvement:g} is asked for; nothing is published"
    )
