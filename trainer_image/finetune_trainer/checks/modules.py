"""Whether spec.model.modules can be what it says, before anything is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finetune_api.losses import Kind
from finetune_api.model import Model, Module
from finetune_api.reasons import Reason
from finetune_trainer.checks.near import did_you_mean
from finetune_trainer.data.problems import InputProblem
from finetune_trainer.model.vocabulary import INPUT_MODULES, arguments_of, missing_argument

#: Arguments of from_pretrained that are not the manifest's to give, and what to do instead.
_NOT_YOURS = {
    "trust_remote_code": "code of a model is never run; use a model that needs none",
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


def check_modules(spec: Model) -> list[InputProblem]:
    """Return what is wrong with the arguments and the order of modules, and with arguments for from_pretrained."""
    problems = [*_kwargs("spec.model.modelKwargs", spec.model_kwargs)]
    problems += _kwargs("spec.model.processorKwargs", spec.processor_kwargs)
    if spec.router is None:
        return [*problems, *_list("spec.model.modules", spec.modules, kind=spec.kind)]
    for name, route in spec.router.routes.items():
        problems += _list(f"spec.model.router.routes.{name}.modules", route.modules, kind=spec.kind)
    return [*problems, *_beside_router(spec)]


def _beside_router(spec: Model) -> Iterator[InputProblem]:
    given = {
        "modelKwargs": (spec.model_kwargs, "model_kwargs"),
        "processorKwargs": (spec.processor_kwargs, "processor_kwargs"),
        "modalities": (spec.modalities, "modality_config"),
    }
    for field, (value, argument) in given.items():
        if value:
            fix = f"write {argument} into the arguments of a route's Transformer"
            yield _problem(f"spec.model.{field}: is wrong because a router has several models; {fix}")


def _list(path: str, modules: Sequence[Module], *, kind: Kind) -> Iterator[InputProblem]:
    for index, module in enumerate(modules):
        where = f"{path}[{index}]"
        if (index == 0) != (module.type in INPUT_MODULES):
            readers = ", ".join(INPUT_MODULES)
            because = f"the first module, and only that, is one of {readers}, which read the model at source"
            yield _problem(f"{where}.type: {module.type} is wrong because {because}; put it elsewhere")
        if module.type == "LogitScore" and kind == "Embedding":
            because = "it makes scores of pairs"
            yield _problem(f"{where}.type: LogitScore is wrong because {because}; set spec.model.kind to Reranker")
        yield from _arguments(f"{where}.arguments", module)


def _arguments(path: str, module: Module) -> Iterator[InputProblem]:
    known = arguments_of(module.type)
    for name, value in module.arguments.items():
        if name not in known:
            hint = did_you_mean(name, known) if known else "leave it out"
            yield _problem(f"{path}.{name}: {module.type} has no such argument that a manifest can give; {hint}")
        elif name in _KWARGS:
            if isinstance(value, Mapping):
                yield from _kwargs(f"{path}.{name}", value)
            else:
                yield _problem(f"{path}.{name}: {value!r} is wrong because it is no mapping of names to values")
    missing = missing_argument(module.type, list(module.arguments))
    if missing:
        yield _problem(f"{path}.{missing}: is missing; {module.type} needs it")


def _kwargs(path: str, given: Mapping[str, Any]) -> Iterator[InputProblem]:
    for name in given:
        if name in _NOT_YOURS:
            yield _problem(f"{path}.{name}: cannot be given here; {_NOT_YOURS[name]}")


def _problem(message: str) -> InputProblem:
    return InputProblem(Reason.INVALID_ARGUMENT, message)
