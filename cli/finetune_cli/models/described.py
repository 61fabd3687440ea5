"""What a published model is, as far as a server has to know: read from its configurations at one commit."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import RepoFile

from finetune_api.contract import ExitCode
from finetune_cli.models.hub import asking, model_at
from finetune_cli.models.refusing import ModelError
from finetune_trainer.prepare.fetch.snapshot import fetch_snapshot

_CONFIG, _MODULES, _LIBRARY = "config.json", "modules.json", "config_sentence_transformers.json"
_TRANSFORMER = "sentence_bert_config.json"


@dataclass(frozen=True)
class Described:
    """One model."""

    modules: tuple[str, ...]
    """Classes of its modules, in their order."""
    model_type: str
    """Family of its transformer, as transformers calls it."""
    architecture: str
    pooling: str
    """How embeddings of tokens become one; empty of a model that does not say."""
    num_labels: int
    is_reranker: bool
    stated: frozenset[str]
    """Names of all that its transformer's configurations state."""
    has_prompts: bool
    is_compared_by_length: bool
    """Whether the length of its embeddings counts, as it does in a dot product of what is not normalized."""
    num_bytes: int


def describe(repository: str, commit: str) -> Described:
    """Return what a repository holds at a commit; no weights are fetched."""
    wanted = model_at(repository, commit)
    with asking(wanted) as api, tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        files = list(api.list_repo_tree(repository, revision=commit, recursive=True))
        num_bytes = sum(one.size for one in files if isinstance(one, RepoFile) and one.path.endswith(".safetensors"))
        fetch_snapshot(api, wanted, folder=Path(folder), select=_configurations)
        try:
            return _described(Path(folder), num_bytes)
        except (OSError, ValueError, LookupError, TypeError) as error:
            text = f"{wanted} is no model that this release has published ({error}); run the job once more"
            raise ModelError(text, ExitCode.UNSUPPORTED_MODEL) from error


def _configurations(paths: list[str]) -> list[str]:
    return [path for path in paths if PurePosixPath(path).name in {_CONFIG, _MODULES, _LIBRARY, _TRANSFORMER}]


def _described(folder: Path, num_bytes: int) -> Described:
    modules = json.loads((folder / _MODULES).read_bytes())
    classes = tuple(one["type"].rpartition(".")[2] for one in modules)
    config = _read(folder / modules[0]["path"] / _CONFIG)
    library = _read(folder / _LIBRARY)
    at = dict(zip(classes, (folder / one["path"] / _CONFIG for one in modules), strict=True))
    pooling = _read(at["Pooling"]).get("pooling_mode", "") if "Pooling" in at else ""
    return Described(
        modules=classes,
        model_type=config.get("model_type", ""),
        architecture=next(iter(config.get("architectures") or [""])),
        pooling=pooling if isinstance(pooling, str) else "+".join(pooling),
        num_labels=len(config.get("id2label") or {"0": ""}),
        is_reranker=library.get("model_type") == "CrossEncoder",
        stated=frozenset(config) | frozenset(_read(folder / modules[0]["path"] / _TRANSFORMER)),
        has_prompts=any((library.get("prompts") or {}).values()),
        is_compared_by_length=library.get("similarity_fn_name") != "cosine" and "Normalize" not in classes,
        num_bytes=num_bytes,
    )


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return content
