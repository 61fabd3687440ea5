"""The library's Transformer around the model at a source."""

import json
from collections.abc import Sequence
from typing import Any

from sentence_transformers.sentence_transformer.modules import CLIPModel, Transformer

from finetune_api.model import Module
from finetune_trainer.recipe.model.part import LOCKED, Part

TASK = "transformer_task"
#: What the library's detection decides by the task.
_OF_THE_TASK = ("modality_config", "module_output_name")
DEFAULT_TASK = "feature-extraction"
CLASSIFICATION = "sequence-classification"


def load_transformer(module: Module, part: Part, *, followers: Sequence[Module], scores: bool) -> Transformer:
    """Return the model at the source of `part` with the arguments of `module`.

    Settings that Sentence Transformers saved with the model hold unless arguments say otherwise. `followers` are the
    modules that come after; `scores` says that they are those of a reranker.
    """
    own = dict(module.arguments)
    task = own.get(TASK, DEFAULT_TASK)
    place = {**LOCKED, "subfolder": _subfolder(part)}
    arguments = _saved_settings(part, task=task) | own | {TASK: task}
    arguments |= _modality_arguments(part, arguments)
    arguments["model_kwargs"] = {**place, **own.get("model_kwargs", {}), **part.weights}
    arguments["processor_kwargs"] = {**place, **part.processor, **own.get("processor_kwargs", {})}
    arguments["config_kwargs"] = {**place, **_config(part, task, followers), **own.get("config_kwargs", {})}
    if scores and task != CLASSIFICATION:
        arguments["processing_kwargs"] = _with_generation_prompt(arguments.get("processing_kwargs") or {})
    return (CLIPModel if module.type == "CLIPModel" else Transformer)(str(part.folder), **arguments)


def _subfolder(part: Part) -> str:
    """Return where Sentence Transformers put the transformer; older versions did not put it at the top."""
    if part.saved_by is None:
        return ""
    return str(json.loads((part.folder / "modules.json").read_bytes())[0]["path"])


def _saved_settings(part: Part, *, task: str) -> dict[str, Any]:
    """Return how the model was used when it was saved; what depends on the task only if that is the same."""
    if part.saved_by is None:
        return {}
    saved: dict[str, Any] = Transformer.load_config(str(part.folder), subfolder=_subfolder(part), local_files_only=True)
    if saved.get(TASK, DEFAULT_TASK) == task:
        return saved
    return {name: value for name, value in saved.items() if name not in _OF_THE_TASK}


def _modality_arguments(part: Part, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the modality configuration that is stated, instead of what the library would detect."""
    stated = part.modalities or arguments.get("modality_config")
    if not stated:
        return {}
    config = {key_of(name): dict(entry) for name, entry in stated.items()}
    output = arguments.get("module_output_name") or output_name(config, task=arguments[TASK])
    return {"modality_config": config, "module_output_name": output}


def key_of(name: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """Return a modality as the library names it: `image+text` is ("image", "text")."""
    return tuple(name.split("+")) if isinstance(name, str) and "+" in name else name


def output_name(config: dict[Any, dict[str, Any]], *, task: str) -> str:
    """Return what the library calls the output of these methods: get_..._features give whole embeddings."""
    if task == CLASSIFICATION:
        return "scores"
    if task in ("text-generation", "any-to-any"):
        return "causal_logits"
    whole = all(str(entry.get("method")).startswith("get_") for entry in config.values())
    return "sentence_embedding" if whole else "token_embeddings"


def _config(part: Part, task: str, followers: Sequence[Module]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if task == CLASSIFICATION and part.num_labels is not None:
        config["num_labels"] = part.num_labels
    if any(module.type == "WeightedLayerPooling" for module in followers):
        config |= _with_hidden_states(part)
    return config


def _with_hidden_states(part: Part) -> dict[str, Any]:
    """Return settings that make a model put out all its layers; of several models in one, the language model's."""
    saved = json.loads((part.folder / _subfolder(part) / "config.json").read_bytes())
    wanted = {"output_hidden_states": True}
    return wanted | {name: dict(wanted) for name in ("text_config",) if name in saved}


def _with_generation_prompt(processing: dict[str, Any]) -> dict[str, Any]:
    """Return call arguments that end an input where the answer would begin: there the score is read."""
    return {**processing, "chat_template": {"add_generation_prompt": True, **processing.get("chat_template", {})}}
