"""An explicit list of modules as the library's objects; what follows from the modules before is filled in."""

from collections.abc import Sequence
from typing import Any

from sentence_transformers.sentence_transformer.modules import InputModule, StaticEmbedding, Transformer
from tokenizers import Tokenizer
from torch import nn

from finetune_api.model import Module
from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.part import Part
from finetune_trainer.recipe.model.refusal import told_as
from finetune_trainer.recipe.model.tokens import embedding_difference, token_id
from finetune_trainer.recipe.model.transformer import load_transformer
from finetune_trainer.recipe.model.vocabulary import CLASSES, SIZES, TOKENS
from finetune_trainer.workspace.failures import RunFailure


def compose(part: Part, *, scores: bool) -> list[Any]:
    """Return the modules of `part`, the first with the model at its source; `scores` for those of a reranker.

    Raises:
        RunFailure: the library refuses a module; the message names it.

    """
    modules: list[Any] = []
    for index, module in enumerate(part.modules):
        path = f"{part.path}.modules[{index}]"
        if index == 0:
            with told_as(f"{path}: {module.type} cannot load {part.source}"):
                modules.append(_input_module(module, part, scores=scores))
        else:
            with told_as(f"{path}: {module.type} refuses its arguments", reason=Reason.INVALID_ARGUMENT):
                modules.append(_module(module, modules, path=f"{path}.arguments"))
    return modules


def _input_module(module: Module, part: Part, *, scores: bool) -> InputModule:
    if module.type != "StaticEmbedding":
        return load_transformer(module, part, followers=part.modules[1:], scores=scores)
    size = module.arguments.get("embedding_dim")
    if size is None:
        return StaticEmbedding.load(str(part.folder), local_files_only=True)
    return StaticEmbedding(Tokenizer.from_file(str(part.folder / "tokenizer.json")), embedding_dim=size)


def _module(module: Module, before: Sequence[Any], *, path: str) -> nn.Module:
    arguments = {name: value for name, value in module.arguments.items() if name not in TOKENS}
    if module.type in SIZES:
        arguments.setdefault(SIZES[module.type], size_after(before))
    if module.type == "WeightedLayerPooling":
        arguments.setdefault("num_hidden_layers", before[0].model.config.get_text_config().num_hidden_layers)
    if "activation_function" in arguments:
        arguments["activation_function"] = activation(arguments["activation_function"], path=path)
    arguments |= _token_arguments(module, before, path=path)
    return CLASSES[module.type](**arguments)


def size_after(modules: Sequence[Any]) -> int:
    """Return the size of what `modules` put out."""
    sizes = (
        module.get_embedding_dimension() for module in reversed(modules) if hasattr(module, "get_embedding_dimension")
    )
    return int(next(sizes))


def activation(name: object, *, path: str) -> nn.Module | None:
    """Return the function that `name` is in torch.nn, for example GELU; None for no function at all."""
    if name is None:
        return None
    found = getattr(nn, str(name).rpartition(".")[2], None)
    if isinstance(found, type) and issubclass(found, nn.Module):
        return found()
    message = f"{path}.activation_function: {name!r} is wrong because torch.nn has no such module; try Identity or GELU"
    raise RunFailure(Reason.INVALID_ARGUMENT, message)


def _token_arguments(module: Module, before: Sequence[Any], *, path: str) -> dict[str, Any]:
    texts = {name: module.arguments[name] for name in TOKENS if name in module.arguments}
    if not texts:
        return {}
    transformer = before[0]
    if not isinstance(transformer, Transformer):
        message = f"{path}: {' and '.join(texts)} need a Transformer as the first module"
        raise RunFailure(Reason.INVALID_ARGUMENT, message)
    ids = {name: token_id(transformer.tokenizer, text, path=f"{path}.{name}") for name, text in texts.items()}
    if module.type == "LogitScore":
        return {f"{name}_id": number for name, number in ids.items()}
    true_id, false_id = ids.get("true_token"), ids.get("false_token")
    if true_id is None:
        raise RunFailure(Reason.INVALID_ARGUMENT, f"{path}.true_token: is missing; false_token goes with it")
    return {"init_weight": embedding_difference(transformer, true_id=true_id, false_id=false_id)}
