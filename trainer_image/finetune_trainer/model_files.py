"""Which files of `train/model` are the model: an allow-list, so that nothing else is ever published."""

import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from finetune_api.reasons import Reason
from finetune_trainer.failures import RunFailure

_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja", ".bpe", ".tiktoken"})
_CARD = "README.md"
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b")
_SCANNED_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelFiles:
    """Path in the repository to local file, and what was left out."""

    files: dict[str, Path]
    left_out: list[str]


def list_model_files(folder: Path) -> ModelFiles:
    """Return the files to publish; fails with TrainerError if they are no whole model, or hold a token."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {name: path for name, path in found.items() if path.suffix in _SUFFIXES and not name.startswith(".")}
    for name, path in files.items():
        _check_file(name, path)
    if "modules.json" not in files or not any(name.endswith(".safetensors") for name in files):
        message = "train/model has no modules.json or no safetensors, so it is no whole model; train it again"
        raise RunFailure(Reason.TRAINER_ERROR, message)
    return ModelFiles(files=files, left_out=[name for name in found if name not in files and name != _CARD])


def _check_file(name: str, path: Path) -> None:
    if path.suffix == ".safetensors":
        _check_weights(name, path)
    elif path.stat().st_size <= _SCANNED_BYTES and _TOKEN.search(path.read_bytes()):
        raise RunFailure(Reason.TRAINER_ERROR, f"train/model/{name} holds what looks like a Hub token; not published")


def _check_weights(name: str, path: Path) -> None:
    try:
        with safe_open(path, framework="numpy") as weights:
            empty = not list(weights.keys())
    except (SafetensorError, OSError) as error:
        raise RunFailure(Reason.TRAINER_ERROR, f"train/model/{name} cannot be read: {error}") from error
    if empty:
        raise RunFailure(Reason.TRAINER_ERROR, f"train/model/{name} holds no weights")
