"""Fetches model and data at pinned commits, checks everything that can be checked without an accelerator, lays it out.

May be repeated at any point: a manifest of this spec ends it at once, anything less is done again on top of what is
there. All that is wrong is told in one message.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.contract import Role, RunConfig, RunResult
from finetune_api.reasons import Reason
from finetune_api.sense import notes
from finetune_api.status import ModelStatus
from finetune_api.types import FinetuneJobSpec, named_models
from finetune_api.workspace import Workspace
from finetune_trainer.checkpoints.fence import Fence, earlier_runs
from finetune_trainer.data.addresses import Addresses
from finetune_trainer.data.hashes import sha256_of
from finetune_trainer.data.images import ImageStore
from finetune_trainer.data.locating import locate, model_folder
from finetune_trainer.data.manifest import FileHash, InputsManifest
from finetune_trainer.data.opening import OpenInputs, open_inputs
from finetune_trainer.data.problems import as_failure
from finetune_trainer.data.sources import Sources
from finetune_trainer.data.workplace import Workplace
from finetune_trainer.data.writing import WrittenInputs, write_inputs
from finetune_trainer.hub.client import connect
from finetune_trainer.report.finished import finished_report
from finetune_trainer.settings import Settings, read_token
from finetune_trainer.whole_file import sync

if TYPE_CHECKING:
    from finetune_trainer.checks.model import Inspection
    from finetune_trainer.data.miners import Miners
    from finetune_trainer.data.reduction import Reduction

SCRATCH = ".scratch"

_log = logging.getLogger(__name__)


def prepare(config: RunConfig, settings: Settings) -> RunResult:
    """Fill `inputs/` and return what was found.

    Raises:
        RunFailure: something is wrong with model, data or access, the Hub does not answer, or another run is at work in
            the workspace.

    """
    with Fence.of(settings.workspace, config).held():
        result = prepare_inputs(config, settings)
    return result.model_copy(update={"warnings": [*result.warnings, *earlier_runs(settings.workspace)]})


def prepare_inputs(config: RunConfig, settings: Settings) -> RunResult:
    """Do the work of `prepare` in a workspace that is this run's."""
    workspace = settings.workspace
    if (manifest := read_finished(workspace, config.spec_hash)) is not None:
        _log.info("inputs are there already")
        told: list[str] = []
        is_trained = finished_report(workspace, config.spec_hash, warn=told.append) is not None
        return as_result(manifest, is_trained=is_trained, told=told)
    workspace.manifest.unlink(missing_ok=True)
    with scratch_folder(workspace) as scratch:
        manifest = fill_inputs(config, workspace, connect_sources(settings, scratch))
    return as_result(manifest)


def fill_inputs(config: RunConfig, workspace: Workspace, sources: Sources) -> InputsManifest:
    """Fetch, open, check and write everything, in this order."""
    spec, cache = config.spec, sources.scratch / "datasets"
    located = locate(spec, workspace, sources)
    inputs = open_inputs(spec, located, cache=cache)
    # Imported late: torch takes seconds, and whatever failed before did not need it.
    from finetune_trainer.checks.precision import precision_warnings  # noqa: PLC0415
    from finetune_trainer.checks.written import check_written  # noqa: PLC0415
    from finetune_trainer.data.miners import Miners  # noqa: PLC0415
    from finetune_trainer.model.tokens import media_tokens  # noqa: PLC0415

    miners = Miners(spec, located, workspace, sources.scratch / "embeddings")
    model, inputs, reduction = check_model(spec, inputs, workspace, miners)
    status = ModelStatus(
        revision=located.model_revision,
        modalities=model.modalities,
        embedding_dimension=model.embedding_dimension,
    )
    with image_store(spec, workspace, reduction) as images:
        place = Workplace(images=images, cache=cache, tokens=media_tokens(model.loaded))
        written = write_inputs(spec, inputs, located, workspace, place, miner_of=miners.of)
    notices = [*notes(spec, similarity=model.similarity), *precision_warnings(spec), *model.notes]
    notices += check_written(config, written, model.loaded, workspace)
    return write_manifest(config, status, written, workspace, notices=notices)


def connect_sources(settings: Settings, scratch: Path) -> Sources:
    """Return where sources come from, with the read token if one is mounted."""
    api = connect(settings.hub_endpoint, token=read_token(settings.read_token_file))
    return Sources(api=api, mounts=settings.claim_sources, scratch=scratch)


def check_model(
    spec: FinetuneJobSpec, inputs: OpenInputs, workspace: Workspace, miners: "Miners"
) -> tuple["Inspection", OpenInputs, "Reduction | None"]:
    """Return what the model can do, the inputs with what it says about them, and what it does to images.

    Fails if model and inputs do not fit together.
    """
    from finetune_trainer.checks.inputs import check_inputs, with_classes  # noqa: PLC0415
    from finetune_trainer.checks.model import inspect_model  # noqa: PLC0415
    from finetune_trainer.data.reduction import reduction_for  # noqa: PLC0415

    model = inspect_model(spec.model, workspace)
    mining = [problem for one in inputs.train for problem in miners.check(one.dataset, one.columns)]
    if problems := [*check_inputs(spec, inputs, model, workspace), *mining]:
        raise as_failure(problems)
    return model, with_classes(spec, inputs, model), reduction_for(model.loaded, spec)


def write_manifest(
    config: RunConfig, model: ModelStatus, written: WrittenInputs, workspace: Workspace, *, notices: list[str]
) -> InputsManifest:
    """Write the manifest that vouches for tables and models; `notices` come first among its warnings."""
    models = dict.fromkeys(model_folder(named, workspace) for named in named_models(config.spec))
    manifest = InputsManifest(
        spec_hash=config.spec_hash,
        model=model,
        train=written.train,
        evaluations=written.evaluations,
        datasets=written.datasets,
        warnings=[*notices, *written.warnings],
        files=list(hash_files(workspace.inputs, [*models, workspace.inputs / "data"])),
    )
    for file in manifest.files:
        sync(workspace.inputs / file.path)
    manifest.write(workspace.manifest)
    return manifest


def read_finished(workspace: Workspace, spec_hash: str) -> InputsManifest | None:
    """Return the manifest if it is of this spec and its files are there, byte for byte."""
    try:
        manifest = InputsManifest.read(workspace.manifest)
    except (FileNotFoundError, ValueError):
        return None
    if manifest.spec_hash != spec_hash:
        return None
    # Sizes first: they cost nothing, and hashes a few seconds for a model of gigabytes.
    whole = all(_has_size(workspace.inputs / file.path, file.size_bytes) for file in manifest.files)
    whole = whole and all(sha256_of(workspace.inputs / file.path) == file.sha256 for file in manifest.files)
    return manifest if whole else None


def hash_files(root: Path, folders: Sequence[Path]) -> Iterator[FileHash]:
    """Yield every file below `folders`, its path relative to `root`."""
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        yield FileHash(path=path.relative_to(root).as_posix(), sha256=sha256_of(path), size_bytes=path.stat().st_size)


def as_result(manifest: InputsManifest, *, is_trained: bool = False, told: Sequence[str] = ()) -> RunResult:
    """Return what the operator is told."""
    rows = ", ".join(f"{dataset.name} {dataset.rows} rows" for dataset in manifest.datasets)
    return RunResult(
        role=Role.PREPARE,
        reason=Reason.VALIDATED,
        message=f"Model and data are checked and in place: {rows}.",
        model=manifest.model,
        datasets=manifest.datasets,
        warnings=[*manifest.warnings, *told],
        is_trained=is_trained,
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
    spec: FinetuneJobSpec, workspace: Workspace, reduction: "Reduction | None" = None
) -> Iterator[ImageStore]:
    """Give the store of the job's images."""
    store = ImageStore(workspace.images, addresses=Addresses.of(spec.data.allow_image_urls), reduction=reduction)
    try:
        yield store
    finally:
        store.close()


def _has_size(path: Path, size_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == size_bytes
