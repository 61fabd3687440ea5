"""What the base model reaches. A restarted gang reads it instead of measuring again."""

from pathlib import Path

from pydantic import ValidationError

from finetune_api.base import Contract
from finetune_trainer.train.evaluation.measurement import Measurement
from finetune_trainer.workspace.whole_file import write_whole


class Baseline(Contract):
    """Measurements of the base model of one run."""

    run: str
    measurements: list[Measurement]


def read_baseline(path: Path, *, run: str) -> list[Measurement] | None:
    """Return what was measured in this run, or None."""
    try:
        baseline = Baseline.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return baseline.measurements if baseline.run == run else None


def write_baseline(path: Path, measurements: list[Measurement], *, run: str) -> None:
    """Write atomically."""
    write_whole(path, Baseline(run=run, measurements=measurements).model_dump_json(by_alias=True))
