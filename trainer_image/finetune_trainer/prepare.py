"""Fetches model and data at pinned commits, checks everything that can be checked without an accelerator, lays it out.

May be repeated at any point: a manifest of this spec ends it at once, anything less is done again on top of what is
there. All that is wrong is told in one message.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from finetune_api.contract import Role, RunConfig, RunResult
from finetune_api.reasons import Reason
from finetune_api.status import ModelStatus
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.data.hashes import sha256_of
from finetune_trainer.data.images import ImageStore
from finetune_trainer.data.inputs import Located, OpenInputs, locate, open_inputs, write_inputs
from finetune_trainer.data.manifest import FileHash, InputsManifest
from finetune_trainer.data.problems import InputProblem, as_failure
from finetune_trainer.data.sources import Sources
from finetune_trainer.data.workplace import Workplace
from finetune_trainer.hub.client import connect
from finetune_trainer.settings import Settings, read_token

SCRATCH = ".scratch"

_log = logging.getLogger(__name__)


def prepare(config: RunConfig, settings: Settings) -> RunResult:
    """Fill `inputs/` and return what was found.

    Raises:
        RunFailure: something is wrong with model, data or access, or the Hub does not answer.

    """
    workspace = settings.workspace
    if (manifest := read_finished(workspace, config.spec_hash)) is not None:
        _log.info("inputs are there already")
        return as_result(manifest)
    workspace.manifest.unlink(missing_ok=True)
    with scratch_folder(workspace) as scratch:
        located = locate(config.spec, workspace, connect_sources(settings, scratch))
        cache = scratch / "datasets"
        inputs = open_inputs(config.spec, located, cache=cache)
        model = check_model(config.spec, located, inputs, workspace)
        with image_store(workspace) as images:
            manifest = write_manifest(config, model, inputs, workspace, Workplace(images=images, cache=cache))
    return as_result(manifest)


def connect_sources(settings: Settings, scratch: Path) -> Sources:
    """Return where sources come from, with the read token if one is mounted."""
    api = connect(settings.hub_endpoint, token=read_token(settings.read_token_file))
    return Sources(api=api, mounts=settings.claim_sources, scratch=scratch)


def check_model(spec: FinetuneJobSpec, located: Located, inputs: OpenInputs, workspace: Workspace) -> ModelStatus:
    """Return what the model can do; fails if it cannot do what data and loss ask for."""
    # Imported late: torch takes seconds, and whatever failed before did not need it.
    from finetune_trainer.checks.loss import check_dimensions, check_loss  # noqa: PLC0415
    from finetune_trainer.checks.model import inspect_model  # noqa: PLC0415

    model = inspect_model(workspace.base_model, spec.model)
    problems = [
        *_check_modalities(spec, inputs, model.modalities),
        *check_loss(spec.training.loss, model.loaded),
        *check_dimensions(spec.training.loss, embedding_dimension=model.embedding_dimension),
    ]
    if problems:
        raise as_failure(problems)
    return ModelStatus(
        revision=located.model.revision,
        modalities=model.modalities,
        embedding_dimension=model.embedding_dimension,
    )


def write_manifest(
    config: RunConfig, model: ModelStatus, inputs: OpenInputs, workspace: Workspace, place: Workplace
) -> InputsManifest:
    """Write tables and images, then the manifest that vouches for them."""
    written = write_inputs(config.spec, inputs, workspace, place)
    manifest = InputsManifest(
        spec_hash=config.spec_hash,
        model=model,
        train=written.train,
        evaluations=written.evaluations,
        datasets=written.datasets,
        warnings=written.warnings,
        files=list(hash_files(workspace.inputs, [workspace.base_model, workspace.inputs / "data"])),
    )
    manifest.write(workspace.manifest)
    return manifest


def read_finished(workspace: Workspace, spec_hash: str) -> InputsManifest | None:
    """Return the manifest if it is of this spec and its files are there."""
    try:
        manifest = InputsManifest.read(workspace.manifest)
    except (FileNotFoundError, ValueError):
        return None
    whole = all(_has_size(workspace.inputs / file.path, file.size_bytes) for file in manifest.files)
    return manifest if manifest.spec_hash == spec_hash and whole else None


def hash_files(root: Path, folders: Sequence[Path]) -> Iterator[FileHash]:
    """Yield every file below `folders`, its path relative to `root`."""
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        yield FileHash(path=path.relative_to(root).as_posix(), sha256=sha256_of(path), size_bytes=path.stat().st_size)


def as_result(manifest: InputsManifest) -> RunResult:
    """Return what the operator is told."""
    rows = ", ".join(f"{dataset.name} {dataset.rows} rows" for dataset in manifest.datasets)
    return RunResult(
        role=Role.PREPARE,
        reason=Reason.VALIDATED,
        message=f"Model and data are checked and in place: {rows}.",
        model=manifest.model,
        datasets=manifest.datasets,
        warnings=manifest.warnings,
    )


@contextmanager
def scratch_folder(workspace: Workspace) -> Iterator[Path]:
    """Give a folder on the job's volume that is gone afterwards; downloads in it survive a killed pod."""
    scratch = workspace.inputs / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    yield scratch
    shutil.rmtree(scratch)


@contextmanager
def image_store(workspace: Workspace) -> Iterator[ImageStore]:
    """Give the store of the job's images."""
    store = ImageStore(workspace.images)
    try:
        yield store
    finally:
        store.close()


def _check_modalities(spec: FinetuneJobSpec, inputs: OpenInputs, modalities: Sequence[str]) -> Iterator[InputProblem]:
    for table in inputs.tables():
        columns = [table.request.columns[part] for part, found in table.modalities.items() if found not in modalities]
        if columns:
            message = (
                f"{table.request.field}: column {', '.join(columns)} of dataset {table.request.dataset} holds images, "
                f"but {spec.model.source} encodes {', '.join(modalities)} only"
            )
            yield InputProblem(Reason.UNSUPPORTED_MODALITY, message)


def _has_size(path: Path, size_bytes: int) -> bool:
    return path.is_file() and path.stat().st_size == size_bytes
