"""Which files of `train/model` are the model: an allow-list, so that nothing else is ever published.

Embedding models, routers and rerankers alike: modules.json at the top, weights as safetensors beside the configuration
of each module, in folders of their own where there are several.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from finetune_api.reasons import Reason
from finetune_trainer.workspace.failures import RunFailure

_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja", ".bpe", ".tiktoken"})
_CARD = "README.md"
_MODULES = "modules.json"
#: What lies beside the weights of a transformer, whether it is the model, a module or a part of a router.
_TRANSFORMER = "sentence_bert_config.json"
_SHARDS = ".safetensors.index.json"
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
    if missing := sorted(_missing(files)):
        message = f"train/model has no {', no '.join(missing)}, so it is no whole model; train it again"
        raise RunFailure(Reason.TRAINER_ERROR, message)
    return ModelFiles(files=files, left_out=[name for name in found if name not in files and name != _CARD])


def _missing(files: Mapping[str, Path]) -> Iterator[str]:
    """Yield what a whole model would have besides."""
    if _MODULES not in files:
        yield _MODULES
    weights = {name for name in files if name.endswith(".safetensors")}
    if not weights:
        yield "safetensors"
    folders = {_folder(name) for name in weights}
    for name, path in files.items():
        if path.name == _TRANSFORMER and _folder(name) not in folders:
            yield f"{_folder(name)}*.safetensors"
        if name.endswith(_SHARDS):
            shards = {f"{_folder(name)}{shard}" for shard in json.loads(path.read_bytes())["weight_map"].values()}
            yield from shards - weights


def _folder(name: str) -> str:
    """Return the folder of a file with a slash at its end; nothing for a file at the top."""
    return name[: name.rfind("/") + 1]


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
