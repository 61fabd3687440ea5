"""Whether spec.model.modules can be what it says, before anything is loaded. Imports nothing heavy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finetune_api.losses import Kind
from finetune_api.model import Model, Module
from finetune_api.problem import Problem
from finetune_trainer.recipe.arguments.near import did_you_mean
from finetune_trainer.recipe.arguments.signatures import Signature

#: Those that read texts and images; one of them comes first, and only there.
INPUT_MODULES = ("Transformer", "CLIPModel", "StaticEmbedding")

#: Arguments of from_pretrained that are not the manifest's to give, and what to do instead.
_NOT_YOURS = {
    "trust_remote_code": "code of a model is never run; use a model that needs none",
    "weights_only": "leave it out: code in files of weights is never run",
    "dtype": "say it in spec.model.dtype",
    "torch_dtype": "say it in spec.model.dtype",
    "attn_implementation": "say it in spec.model.attention",
    "device_map": "leave it out: each process has one accelerator",
    "num_labels": "say it in spec.model.numLabels",
    "min_pixels": "write size: {shortest_edge: PIXELS, longest_edge: PIXELS}",
    "max_pixels": "write size: {shortest_edge: PIXELS, longest_edge: PIXELS}",
    **dict.fromkeys(
        (
            "token",
            "revision",
            "code_revision",
            "cache_dir",
            "subfolder",
            "local_files_only",
            "force_download",
            "proxies",
        ),
        "leave it out: the model is fetched by prepare from source and revision",
    ),
}
_KWARGS = ("model_kwargs", "processor_kwargs", "config_kwargs")
_OURS = "it is not the manifest's to give"


def check_modules(spec: Model, known: Mapping[str, Signature]) -> list[Problem]:
    """Return what is wrong with the arguments and the order of modules, and with arguments for from_pretrained.

    Args:
        spec: of the model.
        known: what a manifest may give to each class.

    """
    problems = [*_kwargs("spec.model.modelKwargs", spec.model_kwargs)]
    problems += _kwargs("spec.model.processorKwargs", spec.processor_kwargs)
    if spec.router is None:
        return [*problems, *_list("spec.model.modules", spec.modules, known, kind=spec.kind)]
    for name, route in spec.router.routes.items():
        problems += _list(f"spec.model.router.routes.{name}.modules", route.modules, known, kind=spec.kind)
    return [*problems, *_beside_router(spec)]


def _beside_router(spec: Model) -> Iterator[Problem]:
    given = {
        "modelKwargs": (spec.model_kwargs, "model_kwargs"),
        "processorKwargs": (spec.processor_kwargs, "processor_kwargs"),
        "modalities": (spec.modalities, "modality_config"),
    }
    for field, (value, argument) in given.items():
        if value:
            fix = f"write {argument} into the arguments of a route's Transformer"
            yield Problem(f"spec.model.{field}", value, "a router has several models", fix)


def _list(path: str, modules: Sequence[Module], known: Mapping[str, Signature], *, kind: Kind) -> Iterator[Problem]:
    for index, module in enumerate(modules):
        where = f"{path}[{index}]"
        if (index == 0) != (module.type in INPUT_MODULES):
            readers = ", ".join(INPUT_MODULES)
            because = f"the first module, and only that, is one of {readers}, which read the model at source"
            yield Problem(f"{where}.type", module.type, because, "put it elsewhere")
        if module.type == "LogitScore" and kind == "Embedding":
            because = "it makes scores of pairs"
            yield Problem(f"{where}.type", module.type, because, "set spec.model.kind to Reranker")
        yield from _arguments(f"{where}.arguments", module, known[module.type])


def _arguments(path: str, module: Module, known: Signature) -> Iterator[Problem]:
    for name, value in module.arguments.items():
        if name not in known:
            fix = did_you_mean(name, known) if known else "leave it out"
            because = f"{module.type} has no such argument that a manifest can give"
            yield Problem(f"{path}.{name}", value, because, fix)
        elif (refused := known[name].refusal(value)) is not None:
            yield Problem(f"{path}.{name}", value, *refused)
        elif name in _KWARGS and isinstance(value, Mapping):
            yield from _kwargs(f"{path}.{name}", value)
    needed = missing_argument(module.type, list(module.arguments))
    if needed:
        yield Problem(f"{path}.{needed}", None, f"{module.type} needs it", "give it")


def missing_argument(name: str, given: Sequence[str]) -> str | None:
    """Return an argument that the class `name` needs and that nothing before it tells, None if all are given."""
    if name == "Dense" and "out_features" not in given:
        return "out_features"
    if name == "LogitScore" and not {"true_token", "true_token_id"} & set(given):
        return "true_token"
    return None


def _kwargs(path: str, given: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in given.items():
        if name in _NOT_YOURS:
            yield Problem(f"{path}.{name}", value, _OURS, _NOT_YOURS[name])
