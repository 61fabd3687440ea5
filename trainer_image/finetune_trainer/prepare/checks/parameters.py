"""Whether the patterns of a spec match parameters of the model."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import PreTrainedModel

from finetune_api.model import Lora, Model
from finetune_api.reasons import Reason
from finetune_trainer.recipe.arguments.near import did_you_mean
from finetune_trainer.recipe.model.adapters import mergeable_layers, targets
from finetune_trainer.recipe.model.freezing import frozen_patterns
from finetune_trainer.workspace.problems import InputProblem


def check_lora(model: SentenceTransformer | CrossEncoder, lora: Lora) -> list[InputProblem]:
    """Return every name of a layer that the model has not, or that cannot have an adapter."""
    backbone = model.transformers_model
    if backbone is None:
        message = "spec.model.lora: is wrong because the model has no transformer; leave lora out"
        return [InputProblem(Reason.INVALID_ARGUMENT, message)]
    return list(_targets(lora, backbone))


def _targets(lora: Lora, backbone: PreTrainedModel) -> Iterator[InputProblem]:
    tied_head = _tied_head(backbone)
    for index, target in enumerate(lora.target_modules):
        path = f"spec.model.lora.targetModules[{index}]"
        found = targets(backbone, [target])
        if not found:
            hint = did_you_mean(target, {name.rpartition(".")[2] for name in mergeable_layers(backbone)})
            because = "no linear layer and no convolution has this name"
            yield _invalid(f"{path}: {target!r} is wrong because {because}; {hint}")
        elif tied_head in found:
            because = "its weights are also those of the input embeddings"
            yield _invalid(f"{path}: {target!r} is wrong because {because}; leave it out")


def _tied_head(backbone: PreTrainedModel) -> str | None:
    head = backbone.get_output_embeddings()
    if head is None or head.weight is not backbone.get_input_embeddings().weight:
        return None
    return next((str(name) for name, module in backbone.named_modules() if module is head), None)


def check_freeze(model: SentenceTransformer | CrossEncoder, spec: Model) -> list[InputProblem]:
    """Return every pattern that matches nothing, and a problem if nothing is left to train."""
    names = [name for name, _ in model.named_parameters()]
    problems = [
        _invalid(f"{path}: {pattern!r} is wrong because no parameter has such a name; {_meant(pattern, names)}")
        for path, pattern in frozen_patterns(spec)
        if not any(fnmatchcase(name, pattern) for name in names)
    ]
    if not problems and not any(parameter.requires_grad for parameter in model.parameters()):
        frozen = frozen_patterns(spec)
        cause = (
            f"{frozen[0][0]}: leaves nothing to train" if frozen else "spec.model: has no weights that can be trained"
        )
        problems.append(_invalid(f"{cause}; {'freeze less' if frozen else 'use another model'}"))
    return problems


def check_learning_rates(
    rates: Mapping[str, float],
    model: SentenceTransformer | CrossEncoder,
    *,
    datasets: Sequence[str] = (),
    loss_weights: bool = False,
) -> list[InputProblem]:
    """Return every pattern of spec.training.learningRates that finds nothing to train.

    The library looks for it in the names that the losses see: `model.` and the name in the model, and before that the
    name of the first of several `datasets`. `loss_weights` says that a loss has weights of its own, whose names are not
    known here: what finds nothing in the model may mean them.
    """
    prefix = f"{datasets[0]}." if len(datasets) > 1 else ""
    names = {f"{prefix}model.{name}": parameter.requires_grad for name, parameter in model.named_parameters()}
    return [problem for rate in rates for problem in _rate(rate, names, loss_weights=loss_weights)]


def _rate(pattern: str, names: Mapping[str, bool], *, loss_weights: bool) -> Iterator[InputProblem]:
    path = f"spec.training.learningRates[{pattern!r}]"
    trained = [is_trained for name, is_trained in names.items() if re.search(pattern, name)]
    if not trained and not loss_weights:
        hint = _meant(pattern.replace("\\", ""), names)
        yield _invalid(f"{path}: is wrong because it matches no parameter; {hint}")
    elif trained and not any(trained):
        yield _invalid(f"{path}: is wrong because all that it matches is frozen; leave it out or freeze less")


def _meant(pattern: str, names: Iterable[str]) -> str:
    prefixes = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count("."))}
    return did_you_mean(pattern, {f"{prefix}.*" for prefix in prefixes} if "*" in pattern else {*prefixes, *names})


def _invalid(message: str) -> InputProblem:
    return InputProblem(Reason.INVALID_ARGUMENT, message)
