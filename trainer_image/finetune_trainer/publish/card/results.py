"""What the model reaches, before and after: for the summary and as tables."""

from collections.abc import Iterator, Mapping

from finetune_api.contract import RunConfig
from finetune_api.status import EvaluationScore
from finetune_api.types import Gate
from finetune_trainer.publish.card.naming import ROWS, metric_name
from finetune_trainer.publish.card.pictures import DIMENSIONS, SCORE
from finetune_trainer.publish.card.tables import dimension_table, score_table
from finetune_trainer.publish.gate import main_score, shortfall
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report


def summarise_results(config: RunConfig, report: Report, manifest: InputsManifest) -> str | None:
    """Return the one sentence that matters most, None without an evaluation."""
    score = main_score(report.evaluations, config.spec)
    if score is None or score.final is None:
        return None
    before = "" if score.baseline is None else f" from {score.baseline:.4f}"
    sure = interval_text(score, manifest)
    told = f" ({sure})" if sure else ""
    text = f"{metric_name(score.metric)} on `{score.name}` went{before} to **{score.final:.4f}**{told}."
    better = shortfall(Gate(), score) is None
    return text if better or score.baseline is None else f"{text} This is not better than the base model."


def interval_text(score: EvaluationScore, manifest: InputsManifest) -> str | None:
    """Return `+0.059, 95 % interval 0.031 to 0.084 over 300 queries`, None where the improvement is not known."""
    if score.baseline is None or score.final is None:
        return None
    text = f"{score.final - score.baseline:+.3f}"
    if score.improvement_low is None or score.improvement_high is None or score.confidence is None:
        return text
    low, high = f"{score.improvement_low:.3f}", f"{score.improvement_high:.3f}"
    return f"{text}, {score.confidence * 100:g} % interval {low} to {high} over {_rows(score.name, manifest)}"


def result_parts(config: RunConfig, report: Report, pictures: Mapping[str, str]) -> Iterator[str]:
    """Yield the section of results, with those of the pictures that show them."""
    if not report.evaluations:
        yield "The model was not evaluated."
        return
    yield "## Results"
    yield score_table(report.evaluations)
    if any(score.improvement_low is not None for score in report.evaluations):
        yield (
            "The interval is that of the difference: a paired bootstrap over the queries or rows of the set, the same "
            "resamples for both models. It does not count that the best of all models measured while training was kept."
        )
    if SCORE in pictures:
        yield f"![Score while training]({pictures[SCORE]})"
    score = main_score(report.evaluations, config.spec)
    if score is not None and score.dimensions:
        yield f"{metric_name(score.metric)} on `{score.name}` with embeddings cut to fewer dimensions:"
        yield dimension_table(score)
    if DIMENSIONS in pictures:
        yield f"![Score by dimensions]({pictures[DIMENSIONS]})"


def _rows(name: str, manifest: InputsManifest) -> str:
    found = next(one for one in manifest.evaluations if one.name == name)
    return f"{found.queries:,} {ROWS[found.evaluator]}"
