"""A workspace from run to run: one run at a time, and only with the manifest that it was begun with."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune_api.contract import TRAINED_FIELDS, RunConfig
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_cli.local.plan import Plan
from finetune_cli.manifest.documents import join
from finetune_cli.manifest.sentences import shown
from finetune_trainer.workspace.causes import is_storage_full
from finetune_trainer.workspace.failures import RunFailure

_MOST_CHANGES = 5


@contextlib.contextmanager
def told_as_failures(workspace: Workspace) -> Iterator[None]:
    """Turn errors about files of the workspace, or about folders around it, into StorageFull or InvalidArgument."""
    try:
        yield
    except OSError as error:
        if error.filename is None or not _is_of(Path(error.filename), workspace):
            raise
        reason = Reason.STORAGE_FULL if is_storage_full(error) else Reason.INVALID_ARGUMENT
        message = (
            f"--workspace: {error.filename} cannot be written ({error.strerror}); name a folder where you may write"
        )
        raise RunFailure(reason, message) from error


def _is_of(path: Path, workspace: Workspace) -> bool:
    # Where a folder around the workspace cannot be made, the error names that folder.
    return path.is_relative_to(workspace.root) or workspace.root.is_relative_to(path)


@contextlib.contextmanager
def occupied(plan: Plan) -> Iterator[None]:
    """Hold the workspace while inside; fails with InvalidArgument if another run has it."""
    plan.own.mkdir(parents=True, exist_ok=True)
    with (plan.own / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = (
                f"--workspace: {plan.workspace.root} is in use by another finetune run; wait for it, or name another"
            )
            raise RunFailure(Reason.INVALID_ARGUMENT, message) from None
        yield


def begin(plan: Plan, *, fresh: bool) -> None:
    """Note what is run, from which folders. A training of another manifest is given up only if `fresh` says so."""
    if fresh:
        shutil.rmtree(plan.workspace.train, ignore_errors=True)
        shutil.rmtree(plan.workspace.receipt.parent, ignore_errors=True)
    if plan.workspace.train.exists():
        _check_same(plan)
    plan.config_file.write_text(plan.config.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
    shutil.rmtree(plan.claim_mounts, ignore_errors=True)
    plan.claim_mounts.mkdir()
    for claim, folder in plan.claims.items():
        (plan.claim_mounts / claim).symlink_to(folder.resolve())


def _check_same(plan: Plan) -> None:
    before = _read(plan.config_file)
    if before is not None and before.spec_hash == plan.config.spec_hash:
        return
    changes = _changes(before, plan.config) if before else "it was not begun by finetune run"
    raise RunFailure(
        Reason.INVALID_ARGUMENT,
        f"--workspace: {plan.workspace.root} holds the training of another manifest ({changes}); "
        "add --fresh to give up that training, or name another --workspace to keep it",
    )


def _read(path: Path) -> RunConfig | None:
    try:
        return RunConfig.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _changes(before: RunConfig, after: RunConfig) -> str:
    old, new = (dict(_leaves(_content(config), "")) for config in (before, after))
    changed = [path for path in sorted({*old, *new}) if old.get(path) != new.get(path)]
    parts = [f"{path} was {shown(old.get(path))} and is {shown(new.get(path))}" for path in changed[:_MOST_CHANGES]]
    more = len(changed) - len(parts)
    return ", ".join(parts) + (f" and {more} more changes" if more else "")


def _content(config: RunConfig) -> dict[str, Any]:
    spec = config.spec.model_dump(mode="json", by_alias=True, include=set(TRAINED_FIELDS))
    return {"number of processes": config.world_size, "spec": spec}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, join(path, key))
    else:
        yield path, value
