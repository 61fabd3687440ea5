"""Mounts that containers and kubelets leave behind when they are ended without a word."""

import shutil
import subprocess
from pathlib import Path


def below(folder: Path) -> list[str]:
    """Return the mount points at and below `folder`, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    return sorted((point for point in points if f"{point}/".startswith(f"{folder}/")), reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything at and below `folder`, however often it is mounted."""
    while points := below(folder):
        subprocess.run(["umount", "--lazy", *points], check=True)


def delete(folder: Path) -> None:
    """Delete `folder` with nothing mounted in it: a volume's contents must never go with a node's folder."""
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
