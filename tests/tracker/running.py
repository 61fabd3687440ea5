"""An MLflow tracking server on a free port, with a database and files in a folder."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.listening import free_port, wait_for
from tests.tracker import program

#: Hundreds of modules are imported, on a machine that has other things to do.
START_SECONDS = 1200
AUTHENTICATION = """[mlflow]
default_permission = EDIT
database_uri = sqlite:///{folder}/accounts.db
admin_username = {account.username}
admin_password = {account.password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@dataclass(frozen=True)
class Account:
    """Who may write, where the server asks for that."""

    username: str = "owner"
    password: str = "secret-of-the-owner"

    def settings(self, **changed: str) -> dict[str, str]:
        """Return what clients need, as a Secret has it."""
        return {"MLFLOW_TRACKING_USERNAME": self.username, "MLFLOW_TRACKING_PASSWORD": self.password} | changed


@dataclass(frozen=True)
class RunningMlflow:
    """One that answers at `uri`."""

    uri: str
    folder: Path
    log: Path

    @property
    def files(self) -> Path:
        """Return where the server keeps what it is given."""
        return self.folder / "files"


@contextmanager
def running_mlflow(
    folder: Path, *, host: str = "127.0.0.1", account: Account | None = None, arguments: tuple[str, ...] = ()
) -> Iterator[RunningMlflow]:
    """Run a server, open to all or to one account, at an address of this machine."""
    port = free_port(host)
    server = RunningMlflow(f"http://{host}:{port}", folder, folder / "server.log")
    command = [
        *(str(program.find()), "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(server.files)),
        *("--allowed-hosts", "*", *arguments),
    ]
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "HOME": str(folder),
    }
    if account is not None:
        (folder / "accounts.ini").write_text(AUTHENTICATION.format(folder=folder, account=account))
        command += ["--app-name", "basic-auth"]
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "accounts.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-key-for-tests",
        }
    with (
        server.log.open("w") as log,
        subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            wait_for((host, port), process, server.log, seconds=START_SECONDS)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
