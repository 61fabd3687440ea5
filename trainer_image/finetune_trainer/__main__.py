"""`python -m finetune_trainer preflight|prepare|train|publish|track`: run one role, say how it ended and exit so."""

import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from finetune_api import keys, workspace
from finetune_api.contract import MESSAGE_LIMIT, Role, RunConfig, RunResult, exit_code_of
from finetune_api.reasons import Reason
from finetune_trainer.buckets.secrets import secret_values
from finetune_trainer.publish.registry.login import login_secrets
from finetune_trainer.workspace import logs
from finetune_trainer.workspace.causes import is_storage_broken, is_storage_full, one_line
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.kept_log import keeping_log
from finetune_trainer.workspace.last_lines import add_last_lines
from finetune_trainer.workspace.process import end, loading_libraries
from finetune_trainer.workspace.settings import Settings, read_token

VERSION = 1
USAGE = f"usage: python -m finetune_trainer {'|'.join(Role)}"
_USAGE_ERROR = 2

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the role named in `arguments` and return the exit code."""
    role = role_of(arguments)
    if role is None:
        sys.stderr.write(USAGE + "\n")
        return _USAGE_ERROR
    settings = Settings.from_environment(environment)
    tokens = [read_token(settings.read_token_file), read_token(settings.write_token_file)]
    folders = (settings.read_bucket, settings.write_bucket, settings.tracking_secret)
    secrets = (value for folder in folders for value in secret_values(folder))
    redact = logs.redaction([*tokens, *secrets, *login_secrets(settings.write_bucket)])
    logs.configure(role, redact)
    result = run(role, settings)
    result = result.model_copy(
        update={"message": redact(result.message), "warnings": [redact(warning) for warning in result.warnings]}
    )
    tell(result, settings.termination_message)
    return int(exit_code_of(result.reason))


def role_of(arguments: Sequence[str]) -> Role | None:
    """Return the one role that `arguments` name."""
    return Role(arguments[0]) if len(arguments) == 1 and arguments[0] in list(Role) else None


def run(role: Role, settings: Settings) -> RunResult:
    """Return how `role` ended; whatever it raises becomes a reason and a sentence."""
    try:
        return _run_role(role, read_config(settings.run_config), settings)
    except RunFailure as failure:
        _log.error("run failed", extra={"reason": failure.reason, "detail": failure.message})
        return RunResult(role=role, reason=failure.reason, message=failure.message[:MESSAGE_LIMIT])
    except Exception as error:  # noqa: BLE001 - the outermost edge
        _log.exception("run crashed")
        return RunResult(
            role=role, reason=_reason(role, error), message=one_line(error)[:MESSAGE_LIMIT], attempt=settings.attempt
        )


def read_config(path: Path) -> RunConfig:
    """Return the RunConfig at `path`; refuses one that cannot be read or is of another version."""
    try:
        config = RunConfig.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        if isinstance(error, ValidationError) and (unknown := _unknown_fields(error)):
            message = (
                f"{', '.join(unknown)}: this trainer image does not know the field; leave it out, or set spec.image to "
                "an image of the operator's release"
            )
            raise RunFailure(Reason.INVALID_SPEC, message) from error
        message = (
            f"run config {path} cannot be read: {one_line(error)}; operator and trainer image must be of one release"
        )
        raise RunFailure(Reason.INTERNAL_ERROR, message) from error
    if config.version != VERSION:
        message = (
            f"run config has version {config.version}, this trainer image knows {VERSION}; "
            "use the trainer image of the operator's release"
        )
        raise RunFailure(Reason.INTERNAL_ERROR, message)
    return config


def _unknown_fields(error: ValidationError) -> list[str]:
    found = [entry["loc"] for entry in error.errors(include_url=False) if entry["type"] == "extra_forbidden"]
    return [".".join(str(part) for part in path) for path in found]


def tell(result: RunResult, path: Path) -> None:
    """Write the termination message and log the result; a message that cannot be written does not fail the run."""
    text = result.to_termination_message()
    _log.info("run ended", extra={"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)})
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        _log.warning("termination message not written", extra={"path": str(path), "error": str(error)})


def _run_role(role: Role, config: RunConfig, settings: Settings) -> RunResult:
    # Imported here so that a role loads only what it needs: torch takes seconds, and only prepare and train need it.
    match role:
        case Role.PREFLIGHT:
            from finetune_trainer.publish.preflight import preflight  # noqa: PLC0415

            return preflight(config, settings)
        case Role.PREPARE:
            with loading_libraries():
                from finetune_trainer.prepare.prepare import prepare  # noqa: PLC0415

            return prepare(config, settings)
        case Role.TRAIN:
            from finetune_trainer.train.supervisor import supervise  # noqa: PLC0415

            return supervise(config, settings.workspace, settings.attempt)
        case Role.PUBLISH:
            from finetune_trainer.publish.publish import publish  # noqa: PLC0415

            return publish(config, settings)
        case Role.TRACK:
            from finetune_trainer.track.track import track  # noqa: PLC0415

            return track(config, settings)


def _reason(role: Role, error: BaseException) -> Reason:
    if is_storage_full(error):
        return Reason.STORAGE_FULL
    if is_storage_broken(error):
        return Reason.STORAGE_FAULT
    return Reason.TRAINER_ERROR if role is Role.TRAIN else Reason.INTERNAL_ERROR


def quiet_libraries(environment: dict[str, str]) -> None:
    """Set what the Hugging Face libraries read when they are imported; what is set already stands."""
    environment.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    environment.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    environment.setdefault("HF_HOME", str(Path(tempfile.gettempdir()) / "huggingface"))
    environment.setdefault("HF_DATASETS_OFFLINE", "1")  # rows come from fetched folders, whatever their cards link to
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        environment.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def kept_at(role: Role, environment: Mapping[str, str]) -> Path:
    """Return the log on the volume that this process writes; one that trains writes that of its pod's first rank."""
    settings = Settings.from_environment(environment)
    if role is not Role.TRAIN:
        return settings.workspace.role_log(role)
    first_rank = int(environment.get("PET_NODE_RANK", "0")) * int(environment.get("PET_NPROC_PER_NODE", "1"))
    return settings.workspace.rank_log(settings.attempt, first_rank)


def main_kept(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return what `main` does, with what it says kept; without a child of its own if there is no role to run."""
    role = role_of(arguments)
    if role is None:
        return main(arguments, environment)
    try:
        log = kept_at(role, environment)
    except ValueError as error:
        logs.configure(role, logs.redaction([]))
        message = f"{keys.ENV_ATTEMPT}, PET_NODE_RANK and PET_NPROC_PER_NODE must be whole numbers: {one_line(error)}"
        result = RunResult(role=role, reason=Reason.INTERNAL_ERROR, message=message)
        tell(result, Path(environment.get(keys.ENV_TERMINATION_MESSAGE, workspace.TERMINATION_MESSAGE)))
        return int(exit_code_of(result.reason))
    last_words = Settings.from_environment(environment).termination_message
    return keeping_log(partial(main, arguments, environment), log, partial(add_last_lines, message=last_words, log=log))


if __name__ == "__main__":
    quiet_libraries(os.environ)  # type: ignore[arg-type]  # os.environ is a dict in all that matters here
    end(main_kept(sys.argv[1:], os.environ))
