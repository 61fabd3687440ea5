"""One role of the trainer image as a process of this machine, started as in its container."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from pydantic import ValidationError

from finetune_api import keys
from finetune_api.contract import Role, RunResult, spec_part
from finetune_api.reasons import Reason
from finetune_cli.local.plan import Plan
from finetune_cli.local.tokens import token_file
from finetune_trainer.hub.token_variables import TOKEN_VARIABLES
from finetune_trainer.workspace.fence import read_owner

#: What a shell may hold that a role must not see: tokens, and the wiring of another run.
_HIDDEN = TOKEN_VARIABLES | {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_HIDDEN_PREFIXES = ("PET_", "FINETUNE_", "TORCHELASTIC_")
#: Keys of buckets, which no training sees.
_BUCKET_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")


@dataclass(frozen=True)
class RoleProcess:
    """A role that runs."""

    role: Role
    process: subprocess.Popen[bytes]
    attempt: int
    telemetry_port: int
    ended: Path
    log: Path
    base_model: Path

    def result(self) -> RunResult:
        """Return how it ended; call when it has."""
        try:
            result = RunResult.model_validate_json(self.ended.read_bytes())
        except (FileNotFoundError, ValidationError):
            result = _without_words(self.role, self.process.returncode)
        return result.model_copy(update={"attempt": self.attempt})


@contextlib.contextmanager
def running(role: Role, plan: Plan) -> Iterator[RoleProcess]:
    """Start a role; it is given its files and a session of its own, so that Ctrl-C reaches only the command."""
    attempt, port = next_attempt(plan), free_port()
    ended, log = plan.own / "ended" / f"{role}.json", plan.log(role, attempt=attempt)
    ended.parent.mkdir(parents=True, exist_ok=True)
    ended.unlink(missing_ok=True)
    wiring = role_wiring(plan, attempt=attempt, port=port, ended=ended)
    with token_file(role) as token:
        environment = {**inherited(os.environ, role), **wiring, **token}
        command = [sys.executable, "-m", "finetune_trainer", role]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as early:  # what it says before it keeps its log itself
            process = subprocess.Popen(  # noqa: S603
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=early,
                start_new_session=True,
            )
        yield RoleProcess(role, process, attempt, port, ended, log, plan.workspace.base_model)


def inherited(environment: Mapping[str, str], role: Role) -> dict[str, str]:
    """Return what a role takes over from the shell: no token, and nothing of another run."""
    hidden = _HIDDEN_PREFIXES + (_BUCKET_PREFIXES if role is Role.TRAIN else ())
    return {name: value for name, value in environment.items() if name not in _HIDDEN and not name.startswith(hidden)}


def role_wiring(plan: Plan, *, attempt: int, port: int, ended: Path) -> dict[str, str]:
    """Return what every role is told of this machine."""
    threads = max(1, (psutil.cpu_count() or 1) // plan.config.processes_per_node)
    return {
        keys.ENV_RUN_CONFIG: str(plan.config_file),
        keys.ENV_WORKSPACE: str(plan.workspace.root),
        keys.ENV_CLAIM_SOURCES: str(plan.claim_mounts),
        keys.ENV_PUBLISHED_RUNS: str(plan.own / "published.json"),
        keys.ENV_READ_TOKEN_FILE: os.devnull,
        keys.ENV_WRITE_TOKEN_FILE: os.devnull,
        keys.ENV_TERMINATION_MESSAGE: str(ended),
        keys.ENV_TELEMETRY_PORT: str(port),
        keys.ENV_ATTEMPT: str(attempt),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        "HF_HOME": str(plan.own / "huggingface"),  # the token file of `hf auth login` lies in the user's own
        "PYTHONSAFEPATH": "1",  # a file like datasets.py in the folder at hand is not the library
    }


def next_attempt(plan: Plan) -> int:
    """Return a number above that of every gang of this run that wrote to the workspace."""
    owner = read_owner(plan.workspace)
    return owner.attempt + 1 if owner is not None and spec_part(owner.run) == plan.config.spec_hash else 1


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _without_words(role: Role, code: int) -> RunResult:
    """Return the result of a role that could not tell it."""
    if code in (-signal.SIGTERM, -signal.SIGINT):
        return RunResult(role=role, reason=Reason.PREEMPTED, message=f"{role} was asked to end and has")
    if code < 0:
        message = f"{role} was ended from outside by {signal.Signals(-code).name}"
        return RunResult(role=role, reason=Reason.RANK_KILLED, message=message)
    message = f"{role} ended with exit code {code} and did not say why"
    return RunResult(role=role, reason=Reason.INTERNAL_ERROR, message=message)
