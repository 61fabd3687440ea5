"""`finetune validate FILE...`: every problem with file, line and field path, offline and at once."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from finetune_api.contract import ExitCode
from finetune_api.sense import notes
from finetune_api.types import KIND
from finetune_cli.manifest.checking import Job, check, is_job
from finetune_cli.manifest.documents import Document, Finding, read_documents
from finetune_cli.manifest.metadata import API_VERSION


@dataclass
class Reading:
    """What files hold."""

    jobs: list[tuple[str, Job]] = field(default_factory=list)
    """File and job."""
    findings: list[Finding] = field(default_factory=list)
    """In the order of the files."""


def read_jobs(names: Sequence[str]) -> Reading:
    """Return the jobs in all files, and everything that is wrong with these files."""
    reading = Reading()
    for name in names:
        documents = read_documents(name)
        meant = [one for one in documents if isinstance(one, Document) and is_job(one)]
        findings = [one for one in documents if isinstance(one, Finding)]
        if not meant and not findings:
            text = f"holds no FinetuneJob; write one, with apiVersion: {API_VERSION} and kind: {KIND}"
            findings.append(Finding(name, text))
        for document in meant:
            checked = check(document.content)
            wrong = [*document.foreign, *(checked if isinstance(checked, list) else [])]
            if isinstance(checked, Job) and not wrong and not document.is_ambiguous:
                reading.jobs.append((document.file, checked))
            findings += [Finding(document.file, one.text, document.position(one.path)) for one in wrong]
        reading.findings += sorted(findings, key=lambda one: one.position or (0, 0))
    return reading


def validate(names: Sequence[str]) -> ExitCode:
    """Print what is wrong, or that nothing is."""
    reading = read_jobs(names)
    for line in _lines(reading):
        sys.stdout.write(f"{line}\n")
    return ExitCode.BAD_SPEC if reading.findings else ExitCode.SUCCESS


def _lines(reading: Reading) -> Iterator[str]:
    for file, job in reading.jobs:
        yield f"{file}: FinetuneJob {job.namespace}/{job.name} is valid"
        yield from (f"{file}: {note}" for note in notes(job.spec))
    yield from map(str, reading.findings)
    if len(reading.findings) > 1:
        yield f"{len(reading.findings)} problems"
