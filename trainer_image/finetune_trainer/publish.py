"""Puts the trained model on the Hub, if it got better: gate, card, one atomic commit, tag. Safe to run again.

A run is known by its spec hash: the tag says that it is done, the commit's trailer that only the tag is missing.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import BadRequestError

from finetune_api.contract import Role, RunConfig, RunResult
from finetune_api.reasons import Reason
from finetune_api.status import ProgressStatus, PublishedStatus
from finetune_api.types import Publish
from finetune_trainer.card.render import render_card
from finetune_trainer.data.manifest import InputsManifest
from finetune_trainer.failures import RunFailure
from finetune_trainer.gate import main_score, shortfall
from finetune_trainer.hub.access import INITIAL_FILES, Access, check_repository
from finetune_trainer.hub.branch import HASH_TRAILER, Target, tag_name
from finetune_trainer.hub.client import connect
from finetune_trainer.hub.commit import Change, Committed, commit_files, differences
from finetune_trainer.hub.errors import hub_words, told_as_failures
from finetune_trainer.model_files import ModelFiles, list_model_files
from finetune_trainer.preflight import refuse_filled, require_write_token
from finetune_trainer.report.schema import Report
from finetune_trainer.settings import Settings

CARD = "README.md"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How publishing ended."""

    reason: Reason
    message: str
    published: PublishedStatus | None = None
    warnings: tuple[str, ...] = ()


def publish(config: RunConfig, settings: Settings) -> RunResult:
    """Publish `train/model` if the gate lets it, and return the final numbers with what was done.

    Raises:
        RunFailure: no finished training, refused access, a Hub that does not answer, or endless conflicts.

    """
    report = read_report(config, settings)
    outcome = decide_and_publish(config, settings, report)
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


def read_report(config: RunConfig, settings: Settings) -> Report:
    """Return the report of this job's training; fails with TrainerError if there is none."""
    path = settings.workspace.report
    try:
        report = Report.read(path)
    except (FileNotFoundError, ValueError) as error:
        message = "train/report.json is missing or broken, so training has not finished on this volume"
        raise RunFailure(Reason.TRAINER_ERROR, message) from error
    if report.spec_hash != config.spec_hash:
        message = f"train/report.json is of run {report.spec_hash}, not of {config.spec_hash}; use a volume of its own"
        raise RunFailure(Reason.TRAINER_ERROR, message)
    return report


def decide_and_publish(config: RunConfig, settings: Settings, report: Report) -> Outcome:
    """Return how it ended; touches the Hub only if the gate is met."""
    wanted = config.spec.publish
    if wanted is None:
        return Outcome(Reason.COMPLETED, "Nothing is to be published; the model is on the volume.")
    missed = shortfall(wanted.gate, main_score(report.evaluations, config.spec))
    if missed is not None:
        return Outcome(Reason.GATE_NOT_MET, missed)
    model = list_model_files(settings.workspace.model)
    files = {**model.files, CARD: write_card(config, settings, report)}
    target = Target(
        connect(settings.hub_endpoint, token=require_write_token(settings)), wanted.repository, wanted.branch
    )
    with told_as_failures(f"publish.repository: {wanted.repository}"):
        try:
            return to_hub(config, wanted, target, files=files, left_out=_left_out(model))
        except BadRequestError as error:
            message = f"publish.repository: the Hub refuses the content of {wanted.repository} ({hub_words(error)})"
            raise RunFailure(Reason.WRITE_FORBIDDEN, message) from error


def to_hub(
    config: RunConfig, wanted: Publish, target: Target, *, files: Mapping[str, Path], left_out: tuple[str, ...]
) -> Outcome:
    """Commit and tag, or find that this was done before."""
    access = Access()
    check_repository(target.api, wanted.repository, private=wanted.private, access=access)
    tag = tag_name(config.spec_hash)
    if (done := target.tagged(tag)) is not None:
        message = f"Published before as {target.repository}@{done[:12]}, tag {tag}."
        return Outcome(Reason.ALREADY_PUBLISHED, message, published_at(target, done, tag=tag))
    committed = find_untagged(target, config.spec_hash, files)
    if committed is None:
        if (stop := policy_stop(wanted, target, config)) is not None:
            return stop
        committed = commit_files(target, describe(config, files))
        verify(target, committed.commit, files)
    return conclude(target, committed, tag=tag, warnings=(*access.warnings, *left_out))


def find_untagged(target: Target, spec_hash: str, files: Mapping[str, Path]) -> Committed | None:
    """Return this run's commit if an earlier try got it in and was stopped before the tag."""
    found = target.find_commit(spec_hash)
    if found is None:
        return None
    # The card may differ: it is rendered by the image at hand, which can be newer than that of the earlier try.
    changed = [path for path in differences(target, found, files) if path != CARD]
    _log.info("commit of an earlier try found", extra={"commit": found, "differs": changed})
    return None if changed else Committed(found)


def policy_stop(wanted: Publish, target: Target, config: RunConfig) -> Outcome | None:
    """Return the end that ifExists asks for when there is something on the branch; fails with RepositoryExists."""
    head = target.head()
    if head is None or not set(target.files(head)) - INITIAL_FILES:
        return None
    if wanted.if_exists == "Skip":
        message = f"{target.repository} holds files already and publish.ifExists is Skip; nothing is published."
        return Outcome(Reason.PUBLISH_SKIPPED, message)
    if wanted.if_exists == "Fail":
        refuse_filled(target.api, wanted, spec_hash=config.spec_hash)
    return None


def describe(config: RunConfig, files: Mapping[str, Path]) -> Change:
    """Return the commit's content and words; the trailer is how a later try knows it."""
    job = config.job
    return Change(
        files=files,
        title=f"Finetune with FinetuneJob {job.namespace}/{job.name}",
        description=f"{HASH_TRAILER}: {config.spec_hash}\nFinetuneJob-Uid: {job.uid}",
        spec_hash=config.spec_hash,
    )


def verify(target: Target, commit: str, files: Mapping[str, Path]) -> None:
    """Fail with HubUnavailable unless the Hub lists at `commit` exactly what was sent."""
    wrong = differences(target, commit, files)
    if wrong:
        message = f"{target.repository}@{commit[:12]} does not hold what was sent ({', '.join(wrong[:5])})"
        raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; sending it once more may help")


def conclude(target: Target, committed: Committed, *, tag: str, warnings: tuple[str, ...]) -> Outcome:
    """Tag the commit and return the good end."""
    tagged = target.tag(tag, commit=committed.commit)
    notes = list(warnings)
    if tagged is None:
        notes.append("the Hub has no tags: a repeated run finds the commit by its message")
    if committed.removed:
        number = len(committed.removed)
        files = "1 file of earlier content was" if number == 1 else f"{number} files of earlier content were"
        notes.append(f"{files} removed: {_some(committed.removed)}")
    if committed.overtaken:
        notes.append("another commit came in while publishing; this run's commit is on top of it")
    message = f"Published as {target.repository}@{committed.commit[:12]}."
    return Outcome(Reason.PUBLISHED, message, published_at(target, committed.commit, tag=tagged), warnings=tuple(notes))


def published_at(target: Target, commit: str, *, tag: str | None) -> PublishedStatus:
    """Return what status shows."""
    url = f"{target.api.endpoint}/{target.repository}/commit/{commit}"
    return PublishedStatus(repository=target.repository, commit=commit, tag=tag, url=url)


def write_card(config: RunConfig, settings: Settings, report: Report) -> Path:
    """Write the model card beside the receipt and return its path."""
    workspace = settings.workspace
    path = workspace.receipt.with_name(CARD)
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = InputsManifest.read(workspace.manifest)
    card = render_card(config, report, manifest, base_cards=base_cards(config, settings))
    path.write_text(card, encoding="utf-8")
    return path


def base_cards(config: RunConfig, settings: Settings) -> list[Path]:
    """Return where prepare left the card of the base model, or those of a router's encoders."""
    workspace, router = settings.workspace, config.spec.model.router
    if router is None:
        return [workspace.base_model / CARD]
    return [workspace.other_model(route.source, route.revision) / CARD for route in router.routes.values()]


def write_receipt(path: Path, published: PublishedStatus) -> None:
    """Write what was published, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(published.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
    partial.rename(path)


def _left_out(model: ModelFiles) -> tuple[str, ...]:
    if not model.left_out:
        return ()
    return (
        f"{len(model.left_out)} files of train/model are no part of a model and stay there: {_some(model.left_out)}",
    )


def _some(names: object) -> str:
    return ", ".join(sorted(names)[:5])  # type: ignore[call-overload]
