"""`finetune validate FILE...`: every problem with file, line and field path, offline and at once."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from finetune_api.contract import ExitCode
from finetune_api.manifest import API_VERSION
from finetune_api.sense import notes
from finetune_api.types import KIND
from finetune_cli.manifest.checking import Job, check, is_job
from finetune_cli.manifest.documents import Document, Finding, read_documents


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


def validate(names: Sequence[str], *, as_json: bool) -> ExitCode:
    """Print what is wrong, or that nothing is."""
    reading = read_jobs(names)
    lines = [json.dumps(_content(reading), indent=2)] if as_json else _lines(reading)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return ExitCode.BAD_SPEC if reading.findings else ExitCode.SUCCESS


def _content(reading: Reading) -> dict[str, object]:
    """Return the same for programs."""
    return {
        "valid": [
            {"file": file, "namespace": job.namespace, "name": job.name, "notes": notes(job.spec)}
            for file, job in reading.jobs
        ],
        "problems": [
            {"file": one.file, "line": line, "column": column, "message": one.text}
            for one in reading.findings
            for line, column in [one.position or (None, None)]
        ],
    }


def _lines(reading: Reading) -> Iterator[str]:
    for file, job in reading.jobs:
        yield f"{file}: FinetuneJob {job.namespace}/{job.name} is valid"
        yield from (f"{file}: {note}" for note in notes(job.spec))
    yield from map(str, reading.findings)
    if len(reading.findings) > 1:
        yield f"{len(reading.findings)} problems"
