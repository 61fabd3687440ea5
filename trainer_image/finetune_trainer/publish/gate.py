"""Whether the trained model is better enough to be published."""

from collections.abc import Sequence

from finetune_api.sense import judging_set
from finetune_api.status import EvaluationScore
from finetune_api.types import FinetuneJobSpec, Gate

_ROUNDING = 1e-9


def main_score(evaluations: Sequence[EvaluationScore], spec: FinetuneJobSpec) -> EvaluationScore | None:
    """Return the score of spec.evaluation.metric on the judging set, None if that was not measured."""
    judging = judging_set(spec)
    name = judging.name if judging else None
    return next((one for one in evaluations if (one.name, one.metric) == (name, spec.evaluation.metric)), None)


def shortfall(gate: Gate | None, score: EvaluationScore | None) -> str | None:
    """Return why the gate is not met, None if it is or there is none."""
    if gate is None:
        return None
    if score is None or score.baseline is None or score.final is None:
        return "publish.gate: the metric was not measured before and after training, so the improvement is unknown"
    if gate.confidence is not None and score.improvement_low is None:
        return (
            f"publish.gate.confidence: {score.metric} on {score.name} was measured on too few or too many rows to tell "
            "how sure its improvement is; nothing is published. Leave confidence out, or change the size of the set"
        )
    sure = score.final - score.baseline if gate.confidence is None else score.improvement_low
    if sure is not None and _is_enough(sure, gate.min_improvement):
        return None
    least = f"{gate.min_improvement:g}" if gate.min_improvement else "more than 0"
    asked = f"where {least} is asked for" + ("" if gate.confidence is None else " at its lower end")
    return (
        f"publish.gate: {score.metric} on {score.name} went from {score.baseline:.4f} to {score.final:.4f}, "
        f"an improvement of {improvement_text(score)} {asked}; nothing is published"
    )


def _is_enough(improvement: float, least: float) -> bool:
    """Zero asks for something; other bounds are met by just so much, and scores are rounded."""
    return improvement > _ROUNDING if least == 0 else improvement >= least - _ROUNDING


def improvement_text(score: EvaluationScore) -> str:
    """Return `+0.0590`, with its interval where that is known; both values of the score are."""
    assert score.baseline is not None
    assert score.final is not None
    text = f"{score.final - score.baseline:+.4f}"
    if score.improvement_low is None or score.improvement_high is None or score.confidence is None:
        return text
    return (
        f"{text} ({score.confidence * 100:g} % interval {score.improvement_low:+.4f} to {score.improvement_high:+.4f})"
    )
