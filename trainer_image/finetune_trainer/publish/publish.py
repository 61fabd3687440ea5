"""Puts the trained model on the Hub, into a bucket or a registry, if it got better. Safe to run again.

A run is known by its id: the tag says that it is done, the commit's trailer that only the tag is missing.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from huggingface_hub.errors import HfHubHTTPError

from finetune_api.contract import Role, RunConfig, RunResult
from finetune_api.gate import effective_gate
from finetune_api.reasons import Reason
from finetune_api.status import ProgressStatus, PublishedStatus
from finetune_api.types import Publish
from finetune_api.workspace import Workspace
from finetune_trainer.buckets.clients import SILENCE_OF_SENDING
from finetune_trainer.hub.client import connect
from finetune_trainer.hub.errors import as_failure, hub_words, status_of, told_as_failures
from finetune_trainer.hub.standing import occupied
from finetune_trainer.publish.access import Access, check_repository
from finetune_trainer.publish.branch import RUN_TRAILER, Target, tag_name
from finetune_trainer.publish.bucket.publishing import connected, to_bucket
from finetune_trainer.publish.bucket.storing import describe_model
from finetune_trainer.publish.commit import Change, Committed, OccupiedError, commit_files
from finetune_trainer.publish.gate import main_score, shortfall
from finetune_trainer.publish.model_files import ModelFiles, list_model_files
from finetune_trainer.publish.outcome import Outcome
from finetune_trainer.publish.preflight import require_write_token
from finetune_trainer.publish.proof import CARD, find_tagged, find_untagged
from finetune_trainer.publish.published import published_at
from finetune_trainer.publish.unchanged import is_unchanged
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.fence import Fence
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.own_inputs import read_own_inputs
from finetune_trainer.workspace.report import Report
from finetune_trainer.workspace.settings import Settings
from finetune_trainer.workspace.verify import find_damage
from finetune_trainer.workspace.whole_file import write_whole

#: Answers that are about what was sent, not about who sent it.
_REFUSED_CONTENT = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)

_log = logging.getLogger(__name__)


def publish(config: RunConfig, settings: Settings) -> RunResult:
    """Publish `train/model` if the gate lets it, and return the final numbers with what was done.

    Raises:
        RunFailure: no finished training, refused access, a Hub that does not answer, endless conflicts, or a workspace
            in which another run is at work.

    """
    try:
        inputs = read_own_inputs(settings.workspace, config)
    except FileNotFoundError as error:
        raise RunFailure(Reason.TRAINER_ERROR, "inputs/manifest.json is missing; use the volume of the job") from error
    with Fence.of(settings.workspace, config, run=inputs.run).held():
        return publish_own(config, settings, inputs)


def publish_own(config: RunConfig, settings: Settings, inputs: InputsManifest) -> RunResult:
    """Do the work of `publish` in a workspace that is this run's."""
    report = read_report(settings.workspace, inputs.run)
    outcome = decide_and_publish(config, settings, report, inputs)
    if outcome.published is not None:
        write_receipt(settings.workspace.receipt, outcome.published)
    return RunResult(
        role=Role.PUBLISH,
        reason=outcome.reason,
        message=outcome.message,
        model=report.model,
        datasets=report.datasets,
        progress=ProgressStatus(stage="Done", step=report.steps, total_steps=report.total_steps, percent=100),
        metrics=report.metrics,
        evaluations=report.evaluations,
        published=outcome.published,
        warnings=[*report.warnings, *outcome.warnings],
    )


def read_report(workspace: Workspace, run: str) -> Report:
    """Return the report of this run's training; fails with TrainerError if there is none."""
    try:
        report = Report.read(workspace.report)
    except (FileNotFoundError, ValueError) as error:
        message = "train/report.json is missing or broken, so training has not finished on this volume"
        raise RunFailure(Reason.TRAINER_ERROR, message) from error
    if report.run != run:
        message = f"train/report.json is of run {report.run}, not of {run}; use a volume of its own"
        raise RunFailure(Reason.TRAINER_ERROR, message)
    if (damage := find_damage(workspace.model, report.files)) is not None:
        message = f"train/model/{damage}; set spec.rerun to a new text to train on from the newest checkpoint"
        raise RunFailure(Reason.TRAINER_ERROR, message)
    return report


def decide_and_publish(config: RunConfig, settings: Settings, report: Report, inputs: InputsManifest) -> Outcome:
    """Return how it ended; touches the Hub only if the model has changed and the gate is met."""
    wanted = config.spec.publish
    if wanted is None:
        return Outcome(Reason.COMPLETED, "Nothing is to be published; the model is on the volume.")
    if (refused := refusal(config, settings.workspace, report)) is not None:
        return refused
    model = list_model_files(settings.workspace.model)
    cards = base_cards(config, settings.workspace)
    from finetune_trainer.publish.written import write_beside  # noqa: PLC0415 - draws; a role starts without

    files = {**model.files, **write_beside(model.files, config, settings.workspace, report, inputs, base_cards=cards)}
    if wanted.registry is not None:
        from finetune_trainer.publish.registry import publishing as registry  # noqa: PLC0415 - its client takes a second

        stored = describe_model(files, run=report.run, job=config.job)
        client, score = registry.connect(wanted, settings), _score(config, report)
        return registry.to_registry(wanted, client, stored, files, score=score, left_out=_left_out(model))
    if wanted.repository is None:
        stored = describe_model(files, run=report.run, job=config.job)
        with connected(wanted, settings, silence=SILENCE_OF_SENDING) as bucket:
            return to_bucket(wanted, bucket, stored, files, left_out=_left_out(model))
    api = connect(settings.hub_endpoint, token=require_write_token(settings))
    target = Target(api, wanted.repository, wanted.branch)
    with told_as_failures(f"publish.repository: {wanted.repository}"):
        try:
            return to_hub(wanted, target, describe(config, wanted, files, run=report.run), left_out=_left_out(model))
        except HfHubHTTPError as error:
            if as_failure(error, wanted.repository) is not None:
                raise
            raise _refused(wanted, error) from error


def refusal(config: RunConfig, workspace: Workspace, report: Report) -> Outcome | None:
    """Return why the model that was trained is not for the Hub: nothing has changed, or the gate is not met."""
    if is_unchanged(workspace.model, base_folders(config, workspace)):
        because = "training has changed nothing, or nothing for the better"
        message = f"train/model holds the very weights of the base model: {because}; nothing is published"
        return Outcome(Reason.MODEL_UNCHANGED, message)
    missed = shortfall(effective_gate(config.spec), main_score(report.evaluations, config.spec))
    return None if missed is None else Outcome(Reason.GATE_NOT_MET, missed)


def to_hub(wanted: Publish, target: Target, change: Change, *, left_out: tuple[str, ...]) -> Outcome:
    """Commit and tag, or find that this was done before. What the Hub answers is believed once it was read back."""
    access = Access()
    check_repository(target.api, target.repository, private=wanted.private, access=access)
    tag = tag_name(change.run)
    if (done := find_tagged(target, tag, change.files, run=change.run)) is not None:
        message = f"Published before as {target.repository}@{done[:12]}, tag {tag}."
        return Outcome(Reason.ALREADY_PUBLISHED, message, published_at(target, done, tag=tag))
    found = find_untagged(target, change.files, run=change.run)
    try:
        committed = Committed(found) if found is not None else commit_files(target, change)
    except OccupiedError as error:
        if wanted.if_exists == "Skip":
            message = f"{target.repository} holds files already and publish.ifExists is Skip; nothing is published."
            return Outcome(Reason.PUBLISH_SKIPPED, message)
        raise occupied(wanted, error.files) from error
    return conclude(target, committed, tag=tag, warnings=(*access.warnings, *left_out))


def describe(config: RunConfig, wanted: Publish, files: Mapping[str, Path], *, run: str) -> Change:
    """Return the commit's content and words; the trailer is how a later try knows it."""
    job = config.job
    return Change(
        files=files,
        title=f"Finetune with FinetuneJob {job.namespace}/{job.name}",
        description=f"{RUN_TRAILER}: {run}\nFinetuneJob-Uid: {job.uid}",
        run=run,
        replaces=wanted.if_exists == "Update",
    )


def conclude(target: Target, committed: Committed, *, tag: str, warnings: tuple[str, ...]) -> Outcome:
    """Tag the commit and return the good end."""
    untagged = target.tag(tag, commit=committed.commit)
    notes = list(warnings)
    if untagged is not None:
        notes.append(f"{untagged}: a repeated run finds the commit by its message")
    if committed.removed:
        number = len(committed.removed)
        files = "1 file of an earlier model was" if number == 1 else f"{number} files of an earlier model were"
        notes.append(f"{files} removed: {_some(committed.removed)}")
    if committed.foreign:
        number = len(committed.foreign)
        files = "1 file stays that is" if number == 1 else f"{number} files stay that are"
        notes.append(f"{files} no part of this model: {_some(committed.foreign)}; remove them if they are of another")
    if committed.overtaken:
        notes.append("another commit came in while publishing; this run's commit is on top of it")
    message = f"Published as {target.repository}@{committed.commit[:12]}."
    published = published_at(target, committed.commit, tag=tag if untagged is None else None)
    return Outcome(Reason.PUBLISHED, message, published, warnings=tuple(notes))


def base_cards(config: RunConfig, workspace: Workspace) -> list[Path]:
    """Return where prepare left the card of the base model, or those of a router's encoders."""
    return [folder / CARD for folder in base_folders(config, workspace)]


def base_folders(config: RunConfig, workspace: Workspace) -> list[Path]:
    """Return where prepare left the base model, or a router's encoders."""
    router = config.spec.model.router
    if router is None:
        return [workspace.base_model]
    return [workspace.other_model(route.source, route.revision) for route in router.routes.values()]


def write_receipt(path: Path, published: PublishedStatus) -> None:
    """Write what was published, atomically."""
    write_whole(path, published.model_dump_json(by_alias=True, indent=1))


def _refused(wanted: Publish, error: HfHubHTTPError) -> RunFailure:
    """Return what an answer means that is about neither the token nor the Hub's health."""
    if status_of(error) in _REFUSED_CONTENT:
        message = f"publish.repository: the Hub refuses the content of {wanted.repository} ({hub_words(error)})"
        return RunFailure(Reason.WRITE_FORBIDDEN, message)
    message = f"publish.repository: the Hub does not find what {wanted.repository} has to have ({hub_words(error)})"
    return RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; look at what the Hub's logs say about it")


def _score(config: RunConfig, report: Report) -> str | None:
    """Return what decided about the model, in a few words."""
    score = main_score(report.evaluations, config.spec)
    return None if score is None or score.final is None else f"{score.metric}={score.final:.4f}"


def _left_out(model: ModelFiles) -> tuple[str, ...]:
    if not model.left_out:
        return ()
    return (
        f"{len(model.left_out)} files of train/model are no part of a model and stay there: {_some(model.left_out)}",
    )


def _some(names: object) -> str:
    return ", ".join(sorted(names)[:5])  # type: ignore[call-overload]
