"""The arguments of a loss as the manifest has them, read for the library; what is wrong with them is told at once."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from finetune_api.losses import Kind
from finetune_api.objective import Loss
from finetune_api.problem import Problem
from finetune_trainer.checks.near import did_you_mean
from finetune_trainer.losses.table import LossEntry, loss_entry
from finetune_trainer.losses.values import AUTO, Read

#: Rows embedded at once under `mini_batch_size: auto`: larger ones only warm a CPU's caches less. On an accelerator
#: many rows make the loss stage cheap, and the token budget, which counts image tokens too, bounds the memory.
AUTO_CPU = {"mini_batch_size": 8}
AUTO_ACCELERATOR = {"mini_batch_size": 64, "mini_batch_num_tokens": 8192}
#: The same where a loss counts no tokens.
AUTO_ROWS = {"mini_batch_size": 32}

#: What else an argument that is not known may mean.
_MEANT = {
    "decoder_name_or_path": "leave it out: the decoder is made of the model itself",
    "embedding_dimension": "leave it out: it is taken from the model",
    "guide": "write it beside arguments: guide.source and guide.revision",
    "loss": "leave it out: only AdaptiveLayerLoss and Matryoshka2dLoss are put around another loss",
    "matryoshka_dims": "write it beside arguments: matryoshkaDimensions",
    "matryoshka_weights": "write it beside arguments: matryoshkaWeights",
    "model": "leave it out: it is spec.model",
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
class Part:
    """One loss and the arguments that are meant for it."""

    name: str
    entry: LossEntry
    given: Mapping[str, Any]
    also: frozenset[str] = frozenset()
    """Arguments of the loss around it, which a wrong name may have been meant to be."""

    def read(self, path: str) -> tuple[dict[str, Any], list[Problem]]:
        """Return the keyword arguments that are stated, as the class takes them, and what is wrong with the others.

        Args:
            path: of the arguments in the spec.

        """
        values: dict[str, Any] = {}
        problems = []
        for argument, value in self.given.items():
            try:
                values[argument] = self._reader(argument)(value)
            except ValueError as error:
                because, _, fix = str(error).partition("; ")
                problems.append(Problem(f"{path}.{argument}", value, because, fix or self._default(argument)))
        problems += [
            Problem(f"{path}.{argument}", None, f"{self.name} needs it", "give it")
            for argument in self.entry.required
            if argument not in self.given
        ]
        return values, problems

    def _reader(self, argument: str) -> Read:
        if argument in self.entry.arguments:
            return self.entry.arguments[argument]
        known = {*self.entry.arguments, *self.also}
        synonym = _SYNONYMS.get(argument)
        near = f"did you mean {synonym}?" if synonym in known else did_you_mean(argument, known)
        raise ValueError(f"{self.name} has no such argument that can be set; {_MEANT.get(argument, near)}")

    def _default(self, argument: str) -> str:
        declared = self.entry.parameters.get(argument)
        if declared is None or declared.default is inspect.Parameter.empty:
            return "correct it"
        return f"correct it, or leave it out for the library's {declared.default!r}"


def parts_of(spec: Loss, kind: Kind) -> list[Part]:
    """Return the loss, and after it the one that it is put around; arguments belong to the first that has them.

    Raises:
        KeyError: there is no such loss.

    """
    entry = loss_entry(spec.name, kind)
    if not entry.wraps:
        return [Part(spec.name, entry, spec.arguments)]
    inner = str(spec.arguments.get("loss"))
    own = {name: value for name, value in spec.arguments.items() if name in entry.arguments}
    rest = {name: value for name, value in spec.arguments.items() if name not in own and name != "loss"}
    return [
        Part(spec.name, entry, own),
        Part(inner, loss_entry(inner, kind), rest, also=frozenset(entry.arguments)),
    ]


def complete(values: Mapping[str, Any], entry: LossEntry, *, device: torch.device, world_size: int) -> dict[str, Any]:
    """Return the keyword arguments with those that a job need not state.

    Negatives are gathered from all ranks: N ranks with batch B then train exactly like one with N x B.
    """
    arguments = {**entry.defaults, **values, **entry.fixed}
    if "gather_across_devices" in entry.arguments:
        arguments.setdefault("gather_across_devices", world_size > 1)
    if entry.cached and arguments.get("mini_batch_size", AUTO) == AUTO:
        arguments = _automatic(entry, device=device) | {
            name: value for name, value in arguments.items() if name != "mini_batch_size"
        }
    return arguments


def _automatic(entry: LossEntry, *, device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        return dict(AUTO_CPU)
    return dict(AUTO_ACCELERATOR if "mini_batch_num_tokens" in entry.arguments else AUTO_ROWS)
