"""What the base model reaches. A restarted gang reads it instead of measuring again."""

from pathlib import Path

from pydantic import ValidationError

from finetune_api.base import Contract
from finetune_trainer.evaluation.measurement import Measurement
from finetune_trainer.whole_file import write_whole


class Baseline(Contract):
    """Measurements of the base model under one spec."""

    spec_hash: str
    measurements: list[Measurement]


def read_baseline(path: Path, *, spec_hash: str) -> list[Measurement] | None:
    """Return what was measured under this spec, or None."""
    try:
        baseline = Baseline.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return baseline.measurements if baseline.spec_hash == spec_hash else None


def write_baseline(path: Path, measurements: list[Measurement], *, spec_hash: str) -> None:
    """Write atomically."""
    write_whole(path, Baseline(spec_hash=spec_hash, measurements=measurements).model_dump_json(by_alias=True))
