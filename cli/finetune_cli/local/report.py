"""The report of a run on this machine, `report.html` in its workspace."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from finetune_api.contract import RunResult
from finetune_api.status import CurvePoint, FinetuneJobStatus, Phase
from finetune_cli.local.plan import Plan
from finetune_cli.report.page import Subject, page
from finetune_trainer.workspace.report import Report


def final_status(results: Sequence[RunResult], report: Report) -> FinetuneJobStatus:
    """Return what an operator would tell of such a run."""
    return FinetuneJobStatus(
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


def page_of(results: Sequence[RunResult], plan: Plan, report: Report) -> str:
    """Return the page. Its curves have every point that the trainer has recorded."""
    status = final_status(results, report)
    curve = [CurvePoint(step=point.step, loss=point.loss, score=point.score) for point in report.curve]
    job = plan.config.job
    spec = plan.config.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    metric = plan.config.spec.evaluation.metric
    return page(Subject(f"{job.namespace}/{job.name}", spec, status, curve, metric, datetime.now(UTC)))


def write_report(results: Sequence[RunResult], plan: Plan, report: Report) -> Path:
    """Write the page and return where it is."""
    path = plan.workspace.root / "report.html"
    path.write_text(page_of(results, plan, report), encoding="utf-8")
    return path
