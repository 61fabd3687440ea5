"""`finetune init`: a manifest is written from answers, those of the command line or those that a terminal gives."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from finetune_api.contract import ExitCode
from finetune_api.json_schema import FILE_NAME, MODELINE, render
from finetune_api.sense import notes
from finetune_cli.manifest.checking import Job, check
from finetune_cli.manifest.commands import PLACES
from finetune_cli.manifest.documents import STDIN
from finetune_cli.manifest.starting import (
    CLUSTER,
    DEFAULT_TASK,
    LAPTOP,
    TASKS,
    Answers,
    Columns,
    build_manifest,
    next_steps,
)

_HEAD = f"""{MODELINE}{FILE_NAME}
# {{title}}. Written by `finetune init`.
# `finetune validate` tells what is wrong with it, `finetune estimate` what it needs; docs/api.md has all fields.
"""


def init(given: Namespace) -> ExitCode:
    """Write a manifest, and beside it the schema for editors; what is there is left alone unless --force says so."""
    file, to_stdout = Path(given.file), given.file == STDIN
    if not to_stdout and file.exists() and not given.force:
        return _refuse(f"{file} is there already; name another file, or add --force to write over it")
    if sys.stdin.isatty() and sys.stdout.isatty() and not (given.yes or to_stdout or given.output == "json"):
        try:
            _ask(given)
        except EOFError:  # Ctrl-D is no answer
            raise KeyboardInterrupt from None
    answers = _answers(given)
    checked = check(build_manifest(answers))
    if not isinstance(checked, Job):
        sys.stderr.writelines(f"{one.text}\n" for one in checked)
        return ExitCode.BAD_SPEC
    if to_stdout:
        sys.stdout.write(_as_json(checked.manifest) if given.output == "json" else _text(checked.manifest, answers))
        return ExitCode.SUCCESS
    try:
        _write(file, _text(checked.manifest, answers), force=given.force)
    except OSError as error:
        return _refuse(f"{error.filename} cannot be written ({error.strerror}); name a file where you may write")
    _tell(given, checked, answers)
    return ExitCode.SUCCESS


def _text(manifest: Any, answers: Answers) -> str:  # noqa: ANN401 - YAML
    head = _HEAD.format(title=TASKS[answers.task].title.capitalize())
    return head + yaml.safe_dump(manifest, sort_keys=False)


def _as_json(content: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps(content, indent=2) + "\n"


def _write(file: Path, text: str, *, force: bool) -> None:
    schema = file.with_name(FILE_NAME)
    file.write_text(text, encoding="utf-8")
    if force or not schema.exists():
        schema.write_text(render(), encoding="utf-8")


def _tell(given: Namespace, job: Job, answers: Answers) -> None:
    steps = next_steps(answers, given.file)
    if given.output == "json":
        sys.stdout.write(_as_json({"file": given.file, "name": job.name, "next": steps}))
        return
    sys.stdout.write(f"{given.file}: FinetuneJob {job.name}, {TASKS[answers.task].title}\n")
    sys.stdout.writelines(f"{given.file}: {note}\n" for note in notes(job.spec))
    sys.stdout.write(f"Next: {' && '.join(steps)}\n")


def _refuse(text: str) -> ExitCode:
    sys.stderr.write(f"{text}\n")
    return ExitCode.USAGE


def _answers(given: Namespace) -> Answers:
    """Return what was answered; what was not, or is empty, is None here, and so is what the task itself says."""
    task = TASKS[given.task or DEFAULT_TASK]
    model = None if given.model in {"", task.model["source"]} else given.model
    data = None if given.data in {"", task.train["source"]} else given.data
    usual = task.columns if data is None else task.own_columns
    named = Columns(given.query or usual.query, given.positive or usual.positive, given.negative or usual.negative)
    answers = Answers(
        task=given.task or DEFAULT_TASK,
        where=given.where or LAPTOP,
        model=model,
        data=data,
        columns=None if named == usual else named,
        repository=given.repository or None,
        nodes=1 if given.nodes is None else given.nodes,
        accelerators=given.accelerators,
    )
    return replace(answers, name=given.name or (answers.name if answers == Answers() else answers.task))


def _ask(given: Namespace) -> None:
    """Ask for what the command line leaves open; an empty answer takes what stands in parentheses."""
    from rich.prompt import IntPrompt, Prompt  # noqa: PLC0415 - only a terminal needs it

    def ask(name: str, question: str, usual: str, choices: Iterable[str] = ()) -> None:
        if getattr(given, name) is None:
            setattr(given, name, Prompt.ask(question, choices=list(choices) or None, default=usual))

    ask("where", "Where will it run?", LAPTOP, PLACES)
    sys.stdout.writelines(f"  {name:<15} {task.title}\n" for name, task in TASKS.items())
    ask("task", "What is to be trained?", DEFAULT_TASK, TASKS)
    task = TASKS[given.task]
    ask("model", "From which model?", task.model["source"])
    ask("data", "On which data?", task.train["source"])
    if given.data != task.train["source"]:
        ask("query", "Which column has the questions?", task.own_columns.query)
        ask("positive", "Which column has what answers them?", task.own_columns.positive)
        ask("negative", "Which column has what does not answer them, if any?", task.own_columns.negative or "")
    ask("repository", "To which repository of the Hub (OWNER/NAME; empty: none)?", "")
    if given.where == CLUSTER:
        if given.nodes is None:
            given.nodes = IntPrompt.ask("On how many nodes?", default=1)
        if given.accelerators is None:
            given.accelerators = IntPrompt.ask("With how many accelerators each (0: CPU)?", default=1)
