"""`finetune report`: what is known of a job as one HTML file."""

from datetime import datetime

from finetune_cli.cluster.stored import StoredJob
from finetune_cli.report.page import Subject, page


def report(job: StoredJob, now: datetime) -> str:
    """Return the report of a job, with the curve that its status keeps."""
    return page(Subject(job.title, job.manifest["spec"], job.status, job.status.curve, job.metric, now))
