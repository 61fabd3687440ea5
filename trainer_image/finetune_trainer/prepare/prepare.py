"""Fetches model and data at pinned commits, checks everything that can be checked without an accelerator, lays it out.

May be repeated at any point: a manifest of this job ends it at once, anything less is done again on top of what is
there, from the very commits that the job began with. All that is wrong is told in one message.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.contract import Role, RunConfig, RunResult, Stage, run_id
from finetune_api.reasons import GUIDANCE, Reason
from finetune_api.sense import notes
from finetune_api.status import ModelStatus
from finetune_api.types import FinetuneJobSpec, named_models
from finetune_api.workspace import Workspace
from finetune_trainer.hub.client import connect
from finetune_trainer.hub.published import PublishedRun, PublishedRuns
from finetune_trainer.hub.standing import spare
from finetune_trainer.prepare.fetch.addresses import Addresses
from finetune_trainer.prepare.fetch.locating import locate, model_folder, resolve
from finetune_trainer.prepare.fetch.sources import Sources
from finetune_trainer.prepare.images.fetched import FetchedImages
from finetune_trainer.prepare.images.store import ImageStore
from finetune_trainer.prepare.layout.writing import WrittenInputs, write_inputs
from finetune_trainer.prepare.rows.opening import OpenInputs, open_inputs
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.prepare.tracker import Tracker, answering
from finetune_trainer.workspace.fence import Fence, earlier_runs
from finetune_trainer.workspace.finished import finished_report
from finetune_trainer.workspace.images import INDEX, read_index, short_shards
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.outline import outline
from finetune_trainer.workspace.problems import as_failure
from finetune_trainer.workspace.process import loading_libraries
from finetune_trainer.workspace.settings import Settings, read_token
from finetune_trainer.workspace.verify import find_damage, hash_file
from finetune_trainer.workspace.whole_file import sync

if TYPE_CHECKING:
    from finetune_trainer.prepare.checks.model import Inspection
    from finetune_trainer.prepare.images.reduction import Reduction
    from finetune_trainer.prepare.mining.miners import Miners

SCRATCH = ".scratch"

_log = logging.getLogger(__name__)


def prepare(config: RunConfig, settings: Settings) -> RunResult:
    """Fill `inputs/` and return what was found.

    Raises:
        RunFailure: something is wrong with model, data or access, the Hub does not answer, or another run is at work in
            the workspace.

    """
    fence, tracker = Fence.of(settings.workspace, config), Tracker(attempt=settings.attempt, job_uid=config.job.uid)
    with answering(tracker, settings.telemetry_port), fence.held():
        result = prepare_inputs(config, settings, fence, tracker)
    return result.model_copy(update={"warnings": [*result.warnings, *earlier_runs(settings.workspace)]})


def prepare_inputs(config: RunConfig, settings: Settings, fence: Fence, tracker: Tracker) -> RunResult:
    """Do the work of `prepare` in a workspace that is this run's."""
    workspace = settings.workspace
    before = read_before(workspace, config.spec_hash)
    own = before if before is not None and before.uid == config.job.uid else None
    if own is not None and is_whole(workspace, own):
        fence.settle(own.run)
        return there_already(own, workspace)
    handed = PublishedRuns.read(settings.published_runs) if config.spec.publish is not None else PublishedRuns()
    with scratch_folder(workspace) as scratch:
        tracker.enter(Stage.FETCHING)
        sources = connect_sources(settings, scratch)
        commits = resolve(config.spec, sources, pinned=own.sources if own is not None else None)
        run = run_id(config.spec_hash, commits)
        if (done := handed.runs.get(run)) is not None:
            return published_before(done)
        told = [] if config.spec.publish is None else spare(config.spec.publish, handed.standing, run=run)
        fence.settle(run)
        if before is not None and before.run == run and is_whole(workspace, before):
            manifest = before.model_copy(update={"uid": config.job.uid})
            manifest.write(workspace.manifest)
            return there_already(manifest, workspace)
        if workspace.manifest.exists():
            workspace.manifest.rename(stale_manifest(workspace))
        manifest = fill_inputs(config, workspace, sources, commits, tracker)
    stale_manifest(workspace).unlink(missing_ok=True)
    told += [] if own is None else changed_sources(own.sources, commits)
    told += [handed.doubts[run]] if run in handed.doubts else []
    return as_result(manifest, told=told)


def published_before(done: PublishedRun) -> RunResult:
    """Return the end of a run that is on the Hub already; nothing was fetched for it."""
    published, record = done.published, done.record
    commit = f"{published.repository}@{(published.commit or '')[:12]}, tag {published.tag}"
    at = published.url if published.tag is None else commit
    return RunResult(
        role=Role.PREPARE,
        reason=Reason.ALREADY_PUBLISHED,
        message=f"Published before as {at}; nothing is trained. {GUIDANCE[Reason.ALREADY_PUBLISHED].next_step}",
        run=record.run,
        model=record.model,
        datasets=record.datasets,
        metrics=record.metrics,
        evaluations=record.evaluations,
        published=published,
    )


def there_already(manifest: InputsManifest, workspace: Workspace) -> RunResult:
    """Return what the operator is told of inputs that need no work, and of a training that has ended on them."""
    _log.info("inputs are there already")
    told: list[str] = []
    result = as_result(manifest)
    report = finished_report(workspace, manifest.run, warn=told.append)
    if report is not None:
        measured = {"metrics": report.metrics, "curve": outline(report.curve), "evaluations": report.evaluations}
        result = result.model_copy(update={"is_trained": True, **measured})
    return result.model_copy(update={"warnings": [*result.warnings, *told]})


def changed_sources(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what people should know of a job that has to go on with other sources than it began with."""
    changed = [
        f"{path} was {before[path][:12]} and is {new[:12]}" for path, new in after.items() if before[path] != new
    ]
    if not changed:
        return []
    return [f"what this job began with cannot be had any more, so that it begins anew: {', '.join(changed)}"]


def fill_inputs(
    config: RunConfig, workspace: Workspace, sources: Sources, commits: dict[str, str], tracker: Tracker
) -> InputsManifest:
    """Fetch, open, check and write everything, in this order."""
    spec, cache = config.spec, sources.scratch / "datasets"
    located = locate(spec, workspace, sources, commits)
    tracker.enter(Stage.OPENING)
    inputs = open_inputs(spec, located, cache=cache)
    tracker.enter(Stage.CHECKING)
    # Imported late: torch takes seconds, and whatever failed before did not need it.
    _log.info("loading libraries")
    with loading_libraries():
        from finetune_trainer.prepare.checks.precision import precision_warnings  # noqa: PLC0415
        from finetune_trainer.prepare.checks.written import check_written  # noqa: PLC0415
        from finetune_trainer.prepare.mining.miners import Miners  # noqa: PLC0415
        from finetune_trainer.recipe.capacity.estimate import checkpoint_bytes  # noqa: PLC0415
        from finetune_trainer.recipe.model.figures import model_figures  # noqa: PLC0415
        from finetune_trainer.recipe.model.tokens import media_tokens  # noqa: PLC0415

    miners = Miners(spec, located, workspace, sources.scratch / "embeddings", tracker)
    model, inputs, reduction = check_model(spec, inputs, workspace, miners)
    status = ModelStatus(
        revision=located.model_revision,
        modalities=model.modalities,
        embedding_dimension=model.embedding_dimension,
        checkpoint_bytes=round(checkpoint_bytes(spec, model_figures(model.loaded))),
    )
    fetched = sources.scratch / f"fetched-{config.job.uid}.jsonl"
    with image_store(spec, workspace, fetched=fetched, reduction=reduction) as images:
        place = Workplace(images=images, cache=cache, tokens=media_tokens(model.loaded), tracker=tracker)
        written = write_inputs(spec, inputs, located, workspace, place, miner_of=miners.of)
    tracker.enter(Stage.CHECKING)
    notices = [*notes(spec, similarity=model.similarity), *precision_warnings(spec), *model.notes]
    notices += check_written(config, written, model.loaded, workspace)
    written = replace(written, warnings=[*notices, *written.warnings])
    tracker.enter(Stage.SAVING)
    return write_manifest(config, status, written, workspace, commits=commits)


def connect_sources(settings: Settings, scratch: Path) -> Sources:
    """Return where sources come from, with the read token if one is mounted."""
    api = connect(settings.hub_endpoint, token=read_token(settings.read_token_file))
    return Sources(api=api, mounts=settings.claim_sources, secret=settings.read_bucket, scratch=scratch)


def check_model(
    spec: FinetuneJobSpec, inputs: OpenInputs, workspace: Workspace, miners: "Miners"
) -> tuple["Inspection", OpenInputs, "Reduction | None"]:
    """Return what the model can do, the inputs with what it says about them, and what it does to images.

    Fails if model and inputs do not fit together.
    """
    with loading_libraries():
        from finetune_trainer.prepare.checks.inputs import check_inputs, with_classes  # noqa: PLC0415
        from finetune_trainer.prepare.checks.model import inspect_model  # noqa: PLC0415
        from finetune_trainer.prepare.images.reduction import reduction_for  # noqa: PLC0415

    model = inspect_model(spec.model, workspace)
    mining = [problem for one in inputs.train for problem in miners.check(one.dataset, one.columns)]
    if problems := [*check_inputs(spec, inputs, model, workspace), *mining]:
        raise as_failure(problems)
    return model, with_classes(spec, inputs, model), reduction_for(model.loaded, spec)


def write_manifest(
    config: RunConfig, model: ModelStatus, written: WrittenInputs, workspace: Workspace, *, commits: dict[str, str]
) -> InputsManifest:
    """Write the manifest that vouches for tables and models."""
    folders = {workspace.inputs / "data", *(model_folder(named, workspace) for named in named_models(config.spec))}
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    files += workspace.images.glob(INDEX)
    manifest = InputsManifest(
        spec_hash=config.spec_hash,
        run=run_id(config.spec_hash, commits),
        uid=config.job.uid,
        sources=commits,
        model=model,
        train=written.train,
        evaluations=written.evaluations,
        datasets=written.datasets,
        warnings=written.warnings,
        files=[hash_file(path, relative_to=workspace.inputs) for path in files],
    )
    for path in files:
        sync(path)
    manifest.write(workspace.manifest)
    return manifest


def stale_manifest(workspace: Workspace) -> Path:
    """Return where a manifest is kept while what it vouches for is laid out again."""
    return workspace.manifest.with_name("manifest.stale.json")


def read_before(workspace: Workspace, spec_hash: str) -> InputsManifest | None:
    """Return what an earlier try has laid out of this spec, whether it is whole or not."""
    for path in (workspace.manifest, stale_manifest(workspace)):
        with suppress(FileNotFoundError, ValueError):
            if (manifest := InputsManifest.read(path)).spec_hash == spec_hash:
                return manifest
    return None


def is_whole(workspace: Workspace, manifest: InputsManifest) -> bool:
    """Tell whether the files of a manifest are there, byte for byte; images are looked at when they are read."""
    if not workspace.manifest.exists() or find_damage(workspace.inputs, manifest.files) is not None:
        return False
    return not short_shards(workspace.images, read_index(workspace.images))


def as_result(manifest: InputsManifest, *, told: Sequence[str] = ()) -> RunResult:
    """Return what the operator is told."""
    rows = ", ".join(f"{dataset.name} {dataset.rows} rows" for dataset in manifest.datasets)
    return RunResult(
        role=Role.PREPARE,
        reason=Reason.VALIDATED,
        message=f"Model and data are checked and in place: {rows}.",
        run=manifest.run,
        model=manifest.model,
        datasets=manifest.datasets,
        warnings=[*manifest.warnings, *told],
    )


@contextmanager
def scratch_folder(workspace: Workspace) -> Iterator[Path]:
    """Give a folder on the job's volume that is gone afterwards; downloads in it survive a killed pod."""
    scratch = workspace.inputs / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    yield scratch
    shutil.rmtree(scratch)


@contextmanager
def image_store(
    spec: FinetuneJobSpec, workspace: Workspace, *, fetched: Path, reduction: "Reduction | None"
) -> Iterator[ImageStore]:
    """Give the store of the job's images; what addresses gave is remembered in `fetched`."""
    hosts = spec.data.allow_image_urls
    store = ImageStore(
        workspace.images,
        addresses=Addresses.of(hosts),
        fetched=FetchedImages(fetched) if hosts else None,
        reduction=reduction,
    )
    try:
        yield store
    finally:
        store.close()
