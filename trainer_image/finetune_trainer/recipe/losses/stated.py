"""The arguments of a loss as the manifest has them, held against what the class takes. Imports nothing heavy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from finetune_api.losses import LOSS_ALIASES, Kind, loss_rule
from finetune_api.objective import Loss
from finetune_api.problem import Problem
from finetune_trainer.recipe.arguments.near import did_you_mean
from finetune_trainer.recipe.arguments.signatures import Signature, missing

MATRYOSHKA = "MatryoshkaLoss"

#: What else an argument that is not known may mean.
_MEANT = {
    "decoder_name_or_path": "leave it out: the decoder is made of the model itself",
    "embedding_dimension": "leave it out: it is taken from the model",
    "guide": "write it beside arguments: guide.source and guide.revision",
    "loss": "leave it out: only AdaptiveLayerLoss and Matryoshka2dLoss are put around another loss",
    "matryoshka_dims": "write it beside arguments: matryoshkaDimensions",
    "matryoshka_weights": "write it beside arguments: matryoshkaWeights",
    "model": "leave it out: it is spec.model",
    "n_dims_per_step": "give matryoshkaDimensions, of which it takes so many, or leave it out",
    "sentence_embedding_dimension": "it is called embedding_dimension now, and taken from the model: leave it out",
    "show_progress_bar": "leave it out: progress is in the job's status",
    "tie_encoder_decoder": "leave it out: the decoder is made of the model itself",
}
#: Names of other losses, or of older versions.
_SYNONYMS = {
    "activation_fct": "activation_fn",
    "default_activation_function": "activation_fn",
    "margin": "triplet_margin",
    "triplet_margin": "margin",
    "similarity_fn": "similarity_fct",
}


@dataclass(frozen=True)
class Stated:
    """One loss and the arguments that are meant for it."""

    name: str
    known: Signature
    given: Mapping[str, Any]
    also: frozenset[str] = frozenset()
    """Arguments of the loss around it, which a wrong name may have been meant to be."""

    def problems(self, path: str) -> Iterator[Problem]:
        """Yield what is wrong with the arguments, which are at `path` in the spec."""
        for argument, value in self.given.items():
            if argument not in self.known:
                because = f"{self.name} has no such argument that can be set"
                yield Problem(f"{path}.{argument}", value, because, self._meant(argument))
            elif (refused := self.known[argument].refusal(value)) is not None:
                yield Problem(f"{path}.{argument}", value, *refused)
        for argument in missing(self.known, list(self.given)):
            yield Problem(f"{path}.{argument}", None, f"{self.name} needs it", "give it")

    def _meant(self, argument: str) -> str:
        known = {*self.known, *self.also}
        synonym = _SYNONYMS.get(argument)
        near = f"did you mean {synonym}?" if synonym in known else did_you_mean(argument, known)
        return _MEANT.get(argument, near)


def stated_parts(loss: Loss, kind: Kind, known: Mapping[str, Signature]) -> list[Stated]:
    """Return the losses that `loss` is made of, outermost first; an argument belongs to the first that has it.

    MatryoshkaLoss comes first where dimensions are given, unless the loss cuts embeddings itself.

    Args:
        loss: that models of `kind` have.
        kind: of the model.
        known: what each class takes.

    Raises:
        KeyError: there is no such loss.

    """
    rule = loss_rule(loss.name, kind)
    if rule is None:
        raise KeyError(loss.name)
    own, given = known[LOSS_ALIASES.get(loss.name, loss.name)], dict(loss.arguments)
    if rule.wraps:
        inner = str(given.pop("loss", None))
        outer = {name: value for name, value in given.items() if name in own}
        rest = {name: value for name, value in given.items() if name not in own}
        return [Stated(loss.name, own, outer), Stated(inner, known[inner], rest, also=frozenset(own))]
    if not loss.matryoshka_dimensions or not rule.matryoshka:
        return [Stated(loss.name, own, given)]
    around = known[MATRYOSHKA]
    cut = {name: value for name, value in given.items() if name in around and name not in own}
    rest = {name: value for name, value in given.items() if name not in cut}
    return [Stated(MATRYOSHKA, around, cut), Stated(loss.name, own, rest, also=frozenset(around))]
