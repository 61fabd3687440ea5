"""Whether a folder holds a model of the kind that the spec wants, told by its files alone."""

import json
from collections.abc import Iterator, Mapping

from transformers import CONFIG_MAPPING

from finetune_api.losses import Kind
from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.part import Part
from finetune_trainer.recipe.model.refusal import adapter_without_weights, loaded_folders
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.problems import InputProblem

#: Classes of Sentence Transformers that a model of each kind can be made from.
_USABLE: Mapping[Kind, tuple[str | None, ...]] = {
    "Embedding": (None, "SentenceTransformer"),
    "Reranker": (None, "SentenceTransformer", "CrossEncoder"),
}


def check_folder(part: Part, spec: Model) -> list[InputProblem]:
    """Return what is wrong with the folder of `part`; nothing is loaded."""
    if because := adapter_without_weights(part.folder):
        return [InputProblem(Reason.UNSUPPORTED_MODEL, f"{part.path}.source: {part.source} {because}")]
    if not any((part.folder / name).is_file() for name in ("modules.json", "config.json")):
        message = f"{part.path}.source: {part.source} holds neither modules.json nor config.json, so it is no model"
        return [InputProblem(Reason.UNSUPPORTED_MODEL, message)]
    try:
        configs = [path for folder in loaded_folders(part.folder) if (path := folder / "config.json").is_file()]
        own_code = any(_needs_own_code(json.loads(path.read_bytes())) for path in configs) or _has_own_modules(part)
        return list(_check(part, spec, own_code=own_code))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        cause = f"a JSON file is broken ({one_line(error)})"
        message = f"{part.path}.source: Sentence Transformers cannot load {part.source}: {cause}"
        return [InputProblem(Reason.UNSUPPORTED_MODEL, message)]


def _check(part: Part, spec: Model, *, own_code: bool) -> Iterator[InputProblem]:
    if own_code:
        because = "needs code of its own, which is never run; use a model that needs none"
        yield InputProblem(Reason.UNSUPPORTED_MODEL, f"{part.path}.source: {part.source} {because}")
    saved_by = part.saved_by
    if saved_by not in _USABLE[spec.kind] and not part.modules:
        fix = "set spec.model.kind to Reranker" if saved_by == "CrossEncoder" else "use a model of another kind"
        message = f"{part.path}.source: {part.source} is a {saved_by}, not an embedding model or a reranker; {fix}"
        if saved_by == "CrossEncoder":
            message = f"spec.model.kind: Embedding is wrong because {part.source} is a CrossEncoder; {fix}"
        yield InputProblem(Reason.UNSUPPORTED_MODEL, message)
    if part.modalities and not part.modules and (saved_by is not None or spec.kind == "Reranker"):
        because = (
            f"{part.source} was saved with its own" if saved_by else "they go with a list of modules for a reranker"
        )
        message = (
            f"spec.model.modalities: cannot be given because {because}; leave them out, or list spec.model.modules"
        )
        yield InputProblem(Reason.INVALID_ARGUMENT, message)


def _needs_own_code(config: Mapping[str, object]) -> bool:
    # A library that knows the architecture does not need the code that a repository may carry besides.
    return "auto_map" in config and config.get("model_type") not in CONFIG_MAPPING


def _has_own_modules(part: Part) -> bool:
    listed = part.folder / "modules.json"
    modules = json.loads(listed.read_bytes()) if listed.is_file() else []
    return any(not str(module["type"]).startswith("sentence_transformers.") for module in modules)
