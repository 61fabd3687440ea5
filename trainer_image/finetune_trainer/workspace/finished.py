"""Whether a workspace holds a training that came to its end, with the model that it ended with."""

import logging
from collections.abc import Callable

from finetune_api.workspace import Workspace
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.verify import find_damage

logger = logging.getLogger(__name__)


def finished_report(workspace: Workspace, run: str, *, warn: Callable[[str], None]) -> Report | None:
    """Return the report of this run; None if it has not ended, or if its model is damaged, which is told."""
    try:
        report = Report.read(workspace.report)
    except FileNotFoundError:
        return None
    except ValueError as error:
        logger.warning("report is broken", extra={"error": str(error)[:200]})
        return None
    if report.run != run:
        return None
    if (damage := find_damage(workspace.model, report.files)) is not None:
        warn(f"the model that was trained is lost: train/model/{damage}; training goes on from the newest checkpoint")
        return None
    return report
