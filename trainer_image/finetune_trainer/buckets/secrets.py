"""The mounted Secret of a bucket or a tracker: a file for each setting, by the names that its own clients know."""

from pathlib import Path

_PROOF = ("KEY", "TOKEN", "SECRET", "CREDENTIALS", "PASSWORD")
#: What names a key, or says whether to use one, is no secret; its value may be a word of every message.
_NO_SECRET = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SSE_KMS_KEY_ID", "AWS_SSE_BUCKET_KEY_ENABLED"})
#: No service takes a shorter key, and cutting a short word out spoils what is told.
_SHORTEST = 8


def read_settings(secret: Path) -> dict[str, str]:
    """Return the settings that a mounted Secret has, by the names of its files; none where nothing is mounted.

    What is no text, such as a keystore beside them, is none of theirs, and harms nothing.
    """
    if not secret.is_dir():
        return {}
    # The kubelet keeps versions of a Secret in hidden folders beside the links that are its keys.
    files = [path for path in secret.iterdir() if path.is_file() and not path.name.startswith(".")]
    return {file.name: file.read_text(encoding="utf-8", errors="replace").strip() for file in files}


def secret_values(secret: Path) -> list[str]:
    """Return what of a mounted Secret is in no log."""
    held = {name: value for name, value in read_settings(secret).items() if len(value) >= _SHORTEST}
    return [value for name, value in held.items() if _has_proof(name) and name not in _NO_SECRET]


def proves_who_asks(name: str) -> bool:
    """Tell by its name whether a setting says, or proves, who asks; keys that objects are encrypted with do not."""
    return _has_proof(name) and not name.startswith("AWS_SSE_")


def _has_proof(name: str) -> bool:
    return any(part in name for part in _PROOF)
