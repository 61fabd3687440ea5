"""Scores of the base model. A restarted gang reads them instead of measuring again."""

from pathlib import Path

from pydantic import ValidationError

from finetune_api.base import Contract
from finetune_trainer.evaluation.evaluate import Scores


class Baseline(Contract):
    """Scores of the base model under one spec."""

    spec_hash: str
    scores: Scores


def read_baseline(path: Path, *, spec_hash: str) -> Scores | None:
    """Return the scores measured under this spec, or None."""
    try:
        baseline = Baseline.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return baseline.scores if baseline.spec_hash == spec_hash else None


def write_baseline(path: Path, scores: Scores, *, spec_hash: str) -> None:
    """Write atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(Baseline(spec_hash=spec_hash, scores=scores).model_dump_json(by_alias=True), encoding="utf-8")
    temporary.rename(path)
