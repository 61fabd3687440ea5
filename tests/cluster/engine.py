"""What builds and pushes images: a Docker engine where one answers, else buildah, which needs none."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import CACHE, IMAGES, REPOSITORY, RUN

# A machine behind a proxy of its own has the proxy's certificate in here; the build needs it, the image does not.
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Layers of gigabytes are written here on their way; a build that is killed leaves them behind.
TEMPORARY = IMAGES / "temporary"
FIRST_WITH_BUILDX = 23
LOOPBACK = ("127.", "localhost", "[::1]")


@dataclass(frozen=True)
class Engine:
    """The program that builds, with the arguments that differ between the two."""

    name: str
    command: tuple[str, ...]
    build_options: tuple[str, ...] = ()
    push_options: tuple[str, ...] = ()
    inspect_options: tuple[str, ...] = ()

    def run(self, *arguments: str | Path) -> str:
        """Run a subcommand and return what it prints on standard output; the rest goes to the terminal."""
        command = [*self.command, *map(str, arguments)]
        return subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=_environment()
        ).stdout.strip()

    def has(self, image: str) -> bool:
        """Whether the image is in the engine's store."""
        command = [*self.command, "inspect", *self.inspect_options, image]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def build(self, dockerfile: str, *, image: str, base: str, arguments: Sequence[str] = ()) -> None:
        """Build `dockerfile` on `base`, with the checkout as its context; layers whose inputs are the same are reused.

        `arguments` are build arguments, as NAME=VALUE.

        Raises:
            SystemExit: a step failed; what it said is on standard error.
        """
        secret = f"id=certificates,src={CERTIFICATES}"
        given = [f"--build-arg={argument}" for argument in (f"BASE_IMAGE={base}", *arguments)]
        inputs = [*given, "--secret", secret, "--file", dockerfile, "--tag", image, "."]
        # What the steps print goes to standard error: standard output is the driver's own.
        command = [*self.command, "build", *self.build_options, *inputs]
        if subprocess.run(command, check=False, stdout=sys.stderr, cwd=REPOSITORY, env=_environment()).returncode != 0:
            raise SystemExit(f"{dockerfile}: could not be built; the lines above say why")

    def push(self, image: str) -> str:
        """Push to the registry that the image's name begins with; return the digest that it has there."""
        if self.name == "docker":
            self.run("push", "--quiet", image)
            known = self.run(
                "image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", image
            ).split()
            return next(one.partition("@")[2] for one in known if one.startswith(f"{image.rpartition(':')[0]}@"))
        with tempfile.NamedTemporaryFile("r") as digest:
            self.run("push", *self._plain(image), *self.push_options, "--digestfile", digest.name, "--quiet", image)
            return digest.read().strip()

    def pull(self, image: str) -> None:
        """Pull what the registry has; one that is named by its digest is compared with it."""
        self.run("pull", *self._plain(image), "--quiet", image)

    def _plain(self, image: str) -> list[str]:
        """Let a registry on loopback speak plain HTTP, as Docker does by itself."""
        return ["--tls-verify=false"] if self.name == "buildah" and image.startswith(LOOPBACK) else []


def find() -> Engine:
    """Return Docker if its engine answers and has BuildKit, else buildah with a store under the cache folder.

    The caller holds the lock of the images: what an earlier build left unfinished is removed.
    """
    return Engine("docker", ("docker",)) if _has_docker() else _buildah()


def _has_docker() -> bool:
    """Whether a Docker engine answers that can mount secrets, which only BuildKit does.

    Clients from 23 on reach BuildKit through buildx, a package of its own on some systems; older ones bring it:
    https://docs.docker.com/build/buildkit/#getting-started
    """
    version = _answer("docker", "version", "--format", "{{.Client.Version}}")
    if not version:  # no client, or no engine that answers it
        return False
    is_old = int(version.partition(".")[0]) < FIRST_WITH_BUILDX
    return is_old or bool(_answer("docker", "buildx", "version"))


def _answer(*command: str) -> str:
    """Return what the command prints; nothing where it fails or is not there."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _buildah() -> Engine:
    # The machine's own cache of Python packages holds most of what an image needs already.
    uv_cache = Path(os.environ.get("UV_CACHE_DIR") or CACHE.parent / "uv")
    uv_cache.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    TEMPORARY.mkdir(parents=True)
    return Engine(
        "buildah",
        ("buildah", "--root", str(IMAGES / "buildah"), "--runroot", str(RUN / "buildah")),
        build_options=("--isolation", "chroot", "--layers", "--force-rm", f"--volume={uv_cache}:/var/cache/uv"),
        # zstd at its quickest: packing gigabytes takes longer than moving them within one machine.
        push_options=("--compression-format", "zstd", "--compression-level", "1"),
        inspect_options=("--type", "image"),
    )


def _environment() -> dict[str, str]:
    return os.environ | {"TMPDIR": str(TEMPORARY), "DOCKER_BUILDKIT": "1"}
