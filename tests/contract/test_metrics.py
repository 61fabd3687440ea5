import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("operator/finetune_operator/shell", "trainer_image/finetune_trainer/train/report")


def test_every_series_is_documented_and_no_other() -> None:
    name = re.compile(r'"(finetune(?:job|_operator|_train|_eval|_jobs|_attempts|_job)(?:_[a-z_]+)?)"')
    code = "".join(path.read_text() for folder in SOURCES for path in (ROOT / folder).glob("*.py"))
    exported = set(name.findall(code)) - {"finetunejob"}

    documented = re.findall(r"`(finetune[a-z_]+)(?:\{[a-z,]+\})?`", (ROOT / "docs" / "metrics.md").read_text())

    assert {series.removesuffix("_total") for series in documented} == exported
