"""What a finished local run says of publishing."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from finetune_api.contract import Role, RunResult
from finetune_api.reasons import Reason
from finetune_cli.local.plan import Plan
from finetune_cli.local.report import write_report
from finetune_cli.local.summary import show_success
from finetune_trainer.workspace.report import Report
from tests.trainer.conftest import MakeRun, Run
from tests.trainer.publishing import finished_run, scores

TRAINED = RunResult(role=Role.TRAIN, reason=Reason.TRAINED)


def told(run: Run, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is said of publishing after a run with --no-publish."""
    plan = Plan(config=run.config, workspace=run.workspace, claims={}, publishes=False, notes=())
    show_success([TRAINED], plan, Console(width=200))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Published  ")]
    return line.removeprefix("Published  ")


@pytest.mark.parametrize(
    ("final", "policy", "expected"),
    [
        (0.9, {}, "no: --no-publish was given; the same command without it publishes this model"),
        (
            0.8,
            {},
            "no: --no-publish was given, and without it: publish.gate: ndcg@10 on held-out went from 0.8000 to 0.8000, "
            "an improvement of +0.0000 where more than 0 is asked for; nothing is published",
        ),
        (0.8, {"always": True}, "no: --no-publish was given; the same command without it publishes this model"),
    ],
)
def test_whether_the_same_command_would_publish_is_told_after_no_publish(  # noqa: PLR0913, PLR0917 - fixtures
    make_run: MakeRun,
    small_model: Path,
    capsys: pytest.CaptureFixture[str],
    final: float,
    policy: dict[str, Any],
    expected: str,
) -> None:
    run = finished_run(make_run, small_model, evaluations=scores(baseline=0.8, final=final), **policy)

    assert told(run, capsys) == expected


def test_an_unchanged_model_is_told_after_no_publish(
    make_run: MakeRun, small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(make_run, small_model, always=True)
    shutil.copy(small_model / "model.safetensors", run.workspace.base_model)

    assert told(run, capsys) == (
        "no: --no-publish was given, and without it: train/model holds the very weights of the base model: training "
        "has changed nothing, or nothing for the better; nothing is published"
    )


def test_the_report_has_every_point_that_the_trainer_has_recorded(make_run: MakeRun, small_model: Path) -> None:
    run = finished_run(make_run, small_model)
    plan = Plan(config=run.config, workspace=run.workspace, claims={}, publishes=False, notes=())
    record = Report.read(run.workspace.report)

    written = write_report([TRAINED], plan, record)

    assert written == run.workspace.root / "report.html"
    (kept,) = re.findall(r'<script type="application/json" id="curve">(.*?)</script>', written.read_text())
    assert json.loads(kept) == [
        point.model_dump(include={"step", "loss", "score"}, exclude_none=True) for point in record.curve
    ]
    assert "<th>trained for</th><td>22 s</td>" in written.read_text()
    assert "<th>processes of the newest gang</th><td>2</td>" in written.read_text()
