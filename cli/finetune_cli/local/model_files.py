"""The figures of a model by its files: configurations, and the headers of its weights. No weight is read."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi
from huggingface_hub.hf_api import parse_local_safetensors_file_metadata
from huggingface_hub.utils._safetensors import SafetensorsFileMetadata

from finetune_api.reasons import Reason
from finetune_trainer.prepare.fetch.selection import select_model_files
from finetune_trainer.workspace.failures import RunFailure

_CONFIG = "config.json"
#: By newest name first; what Sentence Transformers saved with a model says how long texts may be.
_LENGTHS = ("sentence_bert_config.json", "sentence_transformers_config.json")


class Files(Protocol):
    """The files of a model, wherever they are."""

    def sizes(self) -> Mapping[str, int]:
        """Return bytes by path."""

    def read(self, name: str) -> bytes:
        """Return a small file."""

    def header(self, name: str) -> SafetensorsFileMetadata:
        """Return what a file of weights says of itself."""


@dataclass(frozen=True)
class FolderFiles:
    """Files below a folder of this machine."""

    folder: Path

    def sizes(self) -> Mapping[str, int]:
        """Return bytes by path."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in files}

    def read(self, name: str) -> bytes:
        """Return a small file."""
        return (self.folder / name).read_bytes()

    def header(self, name: str) -> SafetensorsFileMetadata:
        """Return what a file of weights says of itself."""
        return parse_local_safetensors_file_metadata(self.folder / name)


@dataclass(frozen=True)
class HubFiles:
    """Files of a repository of the Hub, of which configurations and headers are fetched."""

    api: HfApi
    repository: str
    revision: str

    def sizes(self) -> Mapping[str, int]:
        """Return bytes by path."""
        found = self.api.model_info(self.repository, revision=self.revision, files_metadata=True).siblings or []
        return {one.rfilename: one.size or 0 for one in found}

    def read(self, name: str) -> bytes:
        """Return a small file."""
        with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
            path = self.api.hf_hub_download(self.repository, name, revision=self.revision, local_dir=folder)
            return Path(path).read_bytes()

    def header(self, name: str) -> SafetensorsFileMetadata:
        """Return what a file of weights says of itself."""
        return self.api.parse_safetensors_file_metadata(self.repository, name, revision=self.revision)


@dataclass(frozen=True)
class ModelFiles:
    """What the files of one model say."""

    config: Mapping[str, Any]
    processor: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    """Of the weights, by name."""
    stored_bytes: int
    max_seq_length: int | None


def read_model(files: Files, *, source: str) -> ModelFiles:
    """Return what is known of a model without its weights.

    Raises:
        RunFailure: there are no safetensors to count.

    """
    sizes = files.sizes()
    names = select_model_files(list(sizes))
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights:
        message = f"{source}: its weights cannot be counted because it has no safetensors; name a model that has"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message)
    root = _root_of_transformer(files, sizes)
    headers = [files.header(name) for name in weights]
    return ModelFiles(
        config=_read(files, f"{root}{_CONFIG}", sizes),
        processor=_read(files, f"{root}preprocessor_config.json", sizes),
        shapes={name: tuple(one.shape) for header in headers for name, one in header.tensors.items()},
        stored_bytes=sum(sizes[name] for name in names),
        max_seq_length=next(
            (found for name in _LENGTHS if (found := _read(files, f"{root}{name}", sizes).get("max_seq_length"))), None
        ),
    )


def _root_of_transformer(files: Files, sizes: Mapping[str, int]) -> str:
    """Return the folder of the first module as a prefix: older versions of Sentence Transformers gave it one."""
    modules: Any = _read(files, "modules.json", sizes)
    path = modules[0].get("path", "") if modules else ""
    return f"{path}/" if path and f"{path}/{_CONFIG}" in sizes else ""


def _read(files: Files, name: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files.read(name)) if name in sizes else {}
    return content
