"""The mounted Secret of a bucket: a file for each setting, by the names that its service's own clients know."""

from pathlib import Path

_SECRET = ("KEY", "TOKEN", "SECRET", "CREDENTIALS")


def read_settings(secret: Path) -> dict[str, str]:
    """Return the settings that a mounted Secret has, by the names of its files; none where nothing is mounted."""
    if not secret.is_dir():
        return {}
    # The kubelet keeps versions of a Secret in hidden folders beside the links that are its keys.
    files = [path for path in secret.iterdir() if path.is_file() and not path.name.startswith(".")]
    return {file.name: file.read_text(encoding="utf-8").strip() for file in files}


def secret_values(secret: Path) -> list[str]:
    """Return what of a mounted Secret is in no log."""
    return [value for name, value in read_settings(secret).items() if is_secret(name)]


def is_secret(name: str) -> bool:
    """Tell by its name whether a setting says, or proves, who asks."""
    return any(part in name for part in _SECRET)
