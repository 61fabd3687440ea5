"""The report of a run on this machine, `report.html` in its workspace."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from finetune_api.contract import RunResult
from finetune_api.status import CurvePoint, FinetuneJobStatus, Phase
from finetune_cli.local.plan import Plan
from finetune_cli.report.page import Subject, page
from finetune_trainer.workspace.report import Report


def write_report(results: Sequence[RunResult], plan: Plan, report: Report) -> Path:
    """Write it and return where it is. Its curves have every point that the trainer has recorded."""
    status = FinetuneJobStatus(
        phase=Phase.SUCCEEDED,
        run=report.run,
        model=report.model,
        datasets=report.datasets,
        evaluations=report.evaluations,
        metrics=report.metrics,
        world_size=report.world_size,
        trained_seconds=round(sum(report.seconds.values())),
        published=results[-1].published,
        warnings=report.warnings,
    )
    curve = [CurvePoint(step=point.step, loss=point.loss, score=point.score) for point in report.curve]
    job, path = plan.config.job, plan.workspace.root / "report.html"
    spec = plan.config.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    metric = plan.config.spec.evaluation.metric
    subject = Subject(f"{job.namespace}/{job.name}", spec, status, curve, metric, datetime.now(UTC))
    path.write_text(page(subject), encoding="utf-8")
    return path
