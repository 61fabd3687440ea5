"""What the schema leaves open: arguments of the library, by its own names. Imports nothing heavy."""

from collections.abc import Iterator

from finetune_api.problem import Problem
from finetune_api.sense import objective_of, rule_of
from finetune_api.types import FinetuneJobSpec
from finetune_trainer.prepare.checks.modules import check_modules
from finetune_trainer.prepare.checks.stated_arguments import check_stated
from finetune_trainer.recipe.arguments.signatures import Signatures
from finetune_trainer.recipe.losses.stated import stated_parts


def check_free_form(spec: FinetuneJobSpec, known: Signatures) -> list[Problem]:
    """Return every argument of the model, its modules, the losses and the training that is not `known` as it is."""
    return [
        *check_modules(spec.model, known.modules),
        *check_stated(spec.training.arguments, known.arguments[spec.model.kind]),
        *_losses(spec, known),
    ]


def _losses(spec: FinetuneJobSpec, known: Signatures) -> Iterator[Problem]:
    paths = {
        "spec.training.loss" if dataset.loss is None else f"spec.data.train[{index}].loss": objective_of(spec, dataset)
        for index, dataset in enumerate(spec.data.train)
    }
    for path, loss in paths.items():
        if rule_of(loss, spec) is None:
            continue  # said by check_sense
        for part in stated_parts(loss, spec.model.kind, known.losses[spec.model.kind]):
            yield from part.problems(f"{path}.arguments")
