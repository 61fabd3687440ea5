"""An S3 server on a free loopback port, whose buckets are folders of this machine."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.store import ObjectStore, S3Store

from tests.listening import free_port, wait_for
from tests.s3 import program

REGION = "eu-test-1"


@dataclass(frozen=True)
class RunningS3:
    """One that answers at `endpoint`."""

    endpoint: str
    folder: Path
    """Each folder in it is a bucket."""
    log: Path
    access_key: str = "owner"
    secret_key: str = "secret-of-the-owner"

    @property
    def port(self) -> int:
        return urlsplit(self.endpoint).port or 0

    def make_bucket(self, name: str) -> S3Store:
        """Return a client of a new, empty bucket."""
        (self.folder / name).mkdir()
        return self.client(name)

    def client(self, bucket: str) -> S3Store:
        """Return a client of a bucket that may do everything with it."""
        config: Any = self.settings()  # by the names that a Secret has
        return S3Store(bucket, config=config, client_options={"allow_http": True})

    def settings(self, **changed: str) -> dict[str, str]:
        """Return what clients need, as a Secret has it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        } | changed

    def add_guest(self) -> None:
        """Add a user who may do nothing, key `guest`."""
        guest = ["--access", "guest", "--secret", "secret-of-the-guest", "--role", "user"]
        owner = ["--access", self.access_key, "--secret", self.secret_key, "--endpoint-url", self.endpoint]
        command = [str(program.find()), "admin", *owner, "--region", REGION, "create-user", *guest]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def upload(self, folder: Path, store: ObjectStore, prefix: str) -> None:
        """Put the files of a folder below a prefix."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                obstore.put(store, f"{prefix}/{path.relative_to(folder).as_posix()}", path)

    def requests(self) -> list[str]:
        """Return what the server was asked for: the call and the object of each request, `-` for none."""
        entries = [line.split() for line in self.log.read_text().splitlines() if " s3_" in line]
        return [f"{entry[7].removeprefix('s3_')} {entry[8]}" for entry in entries]


@contextmanager
def running_s3(folder: Path, *, host: str = "127.0.0.1", arguments: tuple[str, ...] = ()) -> Iterator[RunningS3]:
    """Run the server over `folder`, at an address of this machine; it starts in a tenth of a second."""
    found = program.find()
    assert found is not None, program.MISSING
    for name in ("buckets", "metadata"):
        (folder / name).mkdir()
    port = free_port(host)
    server = RunningS3(f"http://{host}:{port}", folder / "buckets", folder / "access.log")
    command = [
        *(str(found), "--port", f"{host}:{port}", "--region", REGION, "--quiet", "--iam-dir", str(folder)),
        *("--access", server.access_key, "--secret", server.secret_key, "--access-log", str(server.log), *arguments),
        *("posix", "--sidecar", str(folder / "metadata"), str(server.folder)),
    ]
    output = folder / "output.log"
    with output.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            wait_for((host, port), process, output)
            yield server
        finally:
            process.terminate()
