"""What the base model can encode, found out by loading it without its weights in memory. Imports torch."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer
from transformers import CONFIG_MAPPING

from finetune_api.reasons import Reason
from finetune_api.types import Model
from finetune_trainer.causes import one_line
from finetune_trainer.failures import RunFailure

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """The model as Sentence Transformers sees it."""

    modalities: list[str]
    embedding_dimension: int
    loaded: SentenceTransformer
    """Without weights: parameters are on the meta device."""


def inspect_model(folder: Path, model: Model) -> Inspection:
    """Return modalities and embedding size; fails with UnsupportedModel if the library cannot load the folder.

    Weights stay on the meta device: architecture, processor and module files are read as in training, and the names
    and shapes of the weights are compared, but a model of any size needs next to no memory.
    """
    _refuse_own_code(folder, model.source)
    try:
        loaded = SentenceTransformer(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={**model.model_kwargs, "dtype": model.dtype, "device_map": "meta"},
            processor_kwargs=dict(model.processor_kwargs),
        )
        dimension = loaded.get_embedding_dimension()
    except Exception as error:
        message = f"spec.model.source: Sentence Transformers cannot load {model.source}: {one_line(error)[:600]}"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message) from error
    if dimension is None:
        message = f"spec.model.source: {model.source} yields no single embedding; use an embedding model"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message)
    modalities = [name if isinstance(name, str) else "+".join(name) for name in loaded.modalities]
    _log.info("model inspected", extra={"modalities": modalities, "embedding_dimension": dimension})
    return Inspection(modalities=modalities, embedding_dimension=int(dimension), loaded=loaded)


def _refuse_own_code(folder: Path, source: str) -> None:
    if not (folder / "config.json").is_file():
        if (folder / "modules.json").is_file():
            return
        message = f"spec.model.source: {source} holds neither modules.json nor config.json, so it is no model"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message)
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except ValueError as error:
        message = f"spec.model.source: config.json of {source} is broken ({one_line(error)})"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message) from error
    # A library that knows the architecture does not need the code that a repository may carry besides.
    if "auto_map" in config and config.get("model_type") not in CONFIG_MAPPING:
        message = f"spec.model.source: {source} needs code of its own, which is never run; use a model that needs none"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message)
