"""`finetune estimate FILE`: what a job needs of memory and storage, held against what its manifest asks for."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from finetune_api.contract import ExitCode
from finetune_api.reasons import Reason
from finetune_api.sources import ClaimSource, HubSource, parse_source
from finetune_api.types import FinetuneJobSpec, NamedSource, named_models
from finetune_cli.local.expected import estimate_manifest
from finetune_cli.local.model_files import Files, FolderFiles, HubFiles, ModelFiles, read_model
from finetune_cli.local.run import read_job, tell
from finetune_cli.local.tokens import find_token
from finetune_trainer.hub.client import connect
from finetune_trainer.hub.errors import told_as_failures
from finetune_trainer.prepare.fetch.snapshot import Wanted, resolve_commit
from finetune_trainer.recipe.capacity.need import Need, gigabytes
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.settings import DEFAULT_HUB

_STYLES = {"does not fit": "bold red", "may not fit": "yellow", "tight": "yellow", "fits": "green"}


@dataclass(frozen=True)
class Question:
    """What is asked on the command line."""

    file: str
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Folders of this machine that stand for sources."""
    device_bytes: float | None = None
    """Memory of an accelerator, which no manifest states."""
    as_json: bool = False


def estimate(question: Question) -> ExitCode:
    """Print the estimate; BAD_SPEC if the job cannot fit."""
    console, errors = Console(), Console(stderr=True)
    try:
        if (job := read_job(question.file, errors)) is None:
            return ExitCode.BAD_SPEC
        models = read_models(job.spec, question.folders)
        found = estimate_manifest(job.spec, models, device_bytes=question.device_bytes)
    except RunFailure as failure:
        return tell(failure, errors)
    if question.as_json:
        sys.stdout.write(json.dumps(content(found.needs, found.notes), indent=2) + "\n")
    else:
        console.print(Text(f"FinetuneJob {job.namespace}/{job.name}"), soft_wrap=True)
        show(found.needs, found.notes, console)
    return ExitCode.BAD_SPEC if any(need.verdict == "does not fit" for need in found.needs) else ExitCode.SUCCESS


def read_models(spec: FinetuneJobSpec, folders: Mapping[str, Path]) -> dict[str, ModelFiles]:
    """Return what the files of every model of the spec say, by source."""
    found = {}
    for one in named_models(spec):
        with told_as_failures(f"{one.path}.source"):
            found[one.source] = read_model(_files_of(one, folders), source=f"{one.path}.source")
    return found


def _files_of(named: NamedSource, folders: Mapping[str, Path]) -> Files:
    if (folder := folders.get(named.source)) is not None:
        return FolderFiles(folder)
    source = parse_source(named.source)
    if not isinstance(source, HubSource):
        because = "this machine has no volume claims" if isinstance(source, ClaimSource) else "buckets are not asked"
        message = f"{named.path}.source: {because}; add --source {named.source}=FOLDER"
        raise RunFailure(Reason.INVALID_ARGUMENT, message)
    api = connect(os.environ.get("HF_ENDPOINT", DEFAULT_HUB).rstrip("/"), token=find_token())
    wanted = Wanted(source.repository, "model", named.revision, Reason.MODEL_NOT_FOUND)
    return HubFiles(api, source.repository, resolve_commit(api, wanted))


def show(needs: list[Need], notes: list[str], console: Console) -> None:
    """Write a table on a terminal, one line per part elsewhere."""
    if console.is_terminal:
        console.print(_table(needs))
    else:
        for line in _lines(needs):
            console.print(Text(line), soft_wrap=True)
    for note in notes:
        console.print(Text(f"Note: {note}"), soft_wrap=True)


def content(needs: list[Need], notes: list[str]) -> dict[str, object]:
    """Return the same for programs."""
    entries = [
        {
            "resource": need.resource,
            "of": need.whose,
            "bytes": round(need.num_bytes),
            "haveBytes": None if need.have_bytes is None else round(need.have_bytes),
            "field": need.field,
            "verdict": need.verdict,
            "parts": [
                {"what": line.what, "bytes": round(line.num_bytes), "certain": line.certain} for line in need.lines
            ],
        }
        for need in needs
    ]
    return {"needs": entries, "notes": notes}


def _offer(need: Need) -> str:
    if need.have_bytes is None:
        return need.verdict
    have = gigabytes(need.have_bytes)
    return f"{need.field} asks for {need.stated} ({have}): {need.verdict}" if need.field else f"{have}: {need.verdict}"


def _lines(needs: list[Need]) -> Iterator[str]:
    for need in needs:
        yield f"{need.resource} of {need.whose}: about {gigabytes(need.num_bytes)}; {_offer(need)}"
        yield from (f"  {line.what}{'' if line.certain else ' (assumed)'}" for line in need.lines)


def _table(needs: list[Need]) -> Table:
    table = Table("resource", "needs", "of", "has", "", box=None, padding=(0, 2, 0, 0))
    for need in needs:
        have = "" if need.have_bytes is None else gigabytes(need.have_bytes)
        verdict = Text(need.verdict, style=_STYLES.get(need.verdict, ""))
        parts = "\n".join(line.what for line in need.lines)
        table.add_row(f"{need.resource} of {need.whose}", gigabytes(need.num_bytes), parts, have, verdict)
    return table
