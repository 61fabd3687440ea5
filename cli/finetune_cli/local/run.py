"""`finetune run FILE`: prepare, train and publish on this machine, as the pods of a cluster do."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from finetune_api.contract import ExitCode, Role, RunResult, exit_code_of
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_cli.local.devices import choose_devices, count_accelerators
from finetune_cli.local.display import Display
from finetune_cli.local.earlier import begin, occupied, told_as_failures
from finetune_cli.local.following import Sight, follow
from finetune_cli.local.plan import DEFAULT_FOLDER, Plan, check_claims, local_config
from finetune_cli.local.report import final_status
from finetune_cli.local.roles import running
from finetune_cli.local.stopping import Stop
from finetune_cli.local.summary import is_failure, near, show_failure, show_success
from finetune_cli.local.tokens import require_token
from finetune_cli.manifest.checking import Job
from finetune_cli.manifest.validate import read_jobs
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.finished import finished_report
from finetune_trainer.workspace.own_inputs import read_own_inputs
from finetune_trainer.workspace.report import Report

TRACKING_NOTE = "spec.tracking is for jobs on a cluster; a run on this machine tells no tracker"


@dataclass(frozen=True)
class Wishes:
    """What the command line says besides the manifest."""

    file: str
    workspace: Path | None
    claims: Mapping[str, Path]
    processes: int | None
    publishes: bool
    fresh: bool
    as_json: bool = False


def run(wishes: Wishes) -> ExitCode:
    """Run the job to its end and return the exit code that its last role would have had in a pod."""
    console, errors = Console(stderr=wishes.as_json), Console(stderr=True)
    try:
        if (job := read_job(wishes.file, errors)) is None:
            return ExitCode.BAD_SPEC
        root = Path(os.path.realpath(wishes.workspace or DEFAULT_FOLDER / job.name))  # resolve() raises in a loop
        console.print(Text(f"FinetuneJob {job.namespace}/{job.name} in {near(root)}"), soft_wrap=True)
        plan = make_plan(job, wishes, root)
        with told_as_failures(plan.workspace), occupied(plan):
            begin(plan, fresh=wishes.fresh)
            results = run_plan(plan, console, errors)
    except RunFailure as failure:
        return tell(failure, errors)
    if wishes.as_json:
        sys.stdout.write(json.dumps(_content(results, plan), indent=2) + "\n")
    return exit_code_of(results[-1].reason)


def _content(results: list[RunResult], plan: Plan) -> dict[str, object]:
    """Return how a run ended, for programs."""
    last = results[-1]
    content: dict[str, object] = {"reason": last.reason, "message": last.message, "workspace": str(plan.workspace.root)}
    if is_failure(last):
        return content
    status = final_status(results, Report.read(plan.workspace.report))
    told = status.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {**content, "model": str(plan.workspace.model), "status": told}


def tell(failure: RunFailure, errors: Console) -> ExitCode:
    """Print why a command ends, and return its exit code."""
    text = f"{failure.reason} (exit code {int(failure.exit_code)}): {failure.message}"
    errors.print(Text(text, style="bold red"), soft_wrap=True)
    return failure.exit_code


def read_job(file: str, errors: Console) -> Job | None:
    """Return the one job of a file, or None once all that is wrong with it is printed."""
    reading = read_jobs([file])
    for finding in reading.findings:
        errors.print(Text(str(finding)), soft_wrap=True)
    jobs = [job for _, job in reading.jobs]
    if reading.findings:
        return None
    if len(jobs) != 1:
        names = ", ".join(job.name for job in jobs)
        message = (
            f"{file}: {len(jobs)} FinetuneJobs ({names}) are too many for one run; put each into a file of its own"
        )
        raise RunFailure(Reason.INVALID_ARGUMENT, message)
    return jobs[0]


def make_plan(job: Job, wishes: Wishes, root: Path) -> Plan:
    """Return what is to be done below `root`; fails with what can be said before it is begun."""
    check_claims(job.spec, wishes.claims)
    publishes = wishes.publishes and job.spec.publish is not None
    if publishes and job.spec.publish is not None and job.spec.publish.repository is not None:
        require_token()
    visible = count_accelerators() if job.spec.resources.accelerator.per_node else 0
    devices = choose_devices(job.spec, visible=visible, wanted=wishes.processes)
    return Plan(
        config=local_config(job, devices),
        workspace=Workspace(root),
        claims=wishes.claims,
        publishes=publishes,
        notes=(*devices.notes, *([TRACKING_NOTE] if job.spec.tracking is not None else [])),
    )


def run_plan(plan: Plan, console: Console, errors: Console) -> list[RunResult]:
    """Run one role after the other and show it; return how they ended."""
    display = Display(console, metric=plan.config.spec.evaluation.metric)
    for note in plan.notes:
        console.print(Text(f"Warning: {note}", style="yellow"), soft_wrap=True)
    stop = Stop()
    with stop.listening():
        results = run_roles(plan, display, stop)
    if is_failure(results[-1]):
        show_failure(results[-1], plan, errors)
    else:
        show_success(results, plan, console)
    return results


def run_roles(plan: Plan, display: Display, stop: Stop) -> list[RunResult]:
    """Run one role after the other; the first that fails is the last."""
    results: list[RunResult] = []
    for role in plan.roles:
        results.append(run_role(role, plan, display, stop))
        if is_failure(results[-1]):
            break
    return results


def run_role(role: Role, plan: Plan, display: Display, stop: Stop) -> RunResult:
    """Return how a role ended; one that was not begun because the user wants to stop was preempted."""
    if stop:
        return RunResult(role=role, reason=Reason.PREEMPTED, message=f"asked to end before {role}")
    started = time.monotonic()
    result = trained_before(plan) if role is Role.TRAIN else None
    if result is None:
        with running(role, plan) as process:
            with stop.reaching(process.process):
                display.show(role, telling(stop, display, follow(process)))
            result = process.result()
        if stop and result.reason is Reason.RANK_KILLED:
            result = RunResult(
                role=role, reason=Reason.PREEMPTED, message="ended at once; checkpoints stay as they are"
            )
    if not is_failure(result):
        display.ended(result, time.monotonic() - started)
    return result


def telling(stop: Stop, display: Display, sights: Iterable[Sight]) -> Iterator[Sight]:
    """Yield the sights; between them say what Ctrl-C has done."""
    for sight in sights:
        for news in stop.take_news():
            display.say(news)
        yield sight


def trained_before(plan: Plan) -> RunResult | None:
    """Return the good end of a training that an earlier run has finished; spares loading torch to find that out."""
    inputs = read_own_inputs(plan.workspace, plan.config)
    report = finished_report(plan.workspace, inputs.run, warn=lambda _: None)  # training itself tells
    if report is None:
        return None
    return RunResult(role=Role.TRAIN, reason=Reason.TRAINED, message=f"{report.steps} steps were made before")
