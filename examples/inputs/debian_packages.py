"""Fetches Debian packages and unpacks them into a folder; nothing is installed, the system stays as it is."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


def unpack_packages(packages: Sequence[str], *, folder: Path) -> None:
    """Download `packages` with apt-get and unpack all of them into `folder`, which appears complete or not at all.

    Raises:
        RuntimeError: apt-get or dpkg is missing, or a package cannot be had.

    """
    if folder.exists():
        return
    for program in ("apt-get", "dpkg"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program}: is not on this machine, so Debian's manuals cannot be had; run on Debian")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        downloads, root = Path(temporary, "downloads"), Path(temporary, "root")
        downloads.mkdir()
        _download(packages, downloads)
        for archive in sorted(downloads.glob("*.deb")):
            subprocess.run(["dpkg", "-x", str(archive), str(root)], check=True)
        root.rename(folder)


def _download(packages: Sequence[str], folder: Path) -> None:
    """Take the system's package lists; where there are none, or old ones, fetch lists into `folder`."""
    if _apt_get("download", *packages, folder=folder).returncode == 0:
        return
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    private = (f"-oDir::State::Lists={lists}", f"-oDir::Cache={folder / 'cache'}")
    for arguments in (("update",), ("download", *packages)):
        done = _apt_get(*private, *arguments, folder=folder)
        if done.returncode != 0:
            raise RuntimeError(f"apt-get {arguments[0]}: failed: {done.stderr.strip()}")


def _apt_get(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # The user _apt, as whom root's apt-get downloads by default, may not write into root's cache.
    sandbox = ("-oAPT::Sandbox::User=root",) if os.geteuid() == 0 else ()
    command = ["apt-get", "-qq", *sandbox, *arguments]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
