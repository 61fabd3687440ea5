"""What was probably meant by a name that is not there."""

import difflib
from collections.abc import Iterable, Iterator

from finetune_api.losses import LOSS_ALIASES, NOT_LOSSES
from finetune_trainer.local.structure import Schema, job_schema
from finetune_trainer.recipe.arguments.rules import MEANT, OURS, PASSED, REFUSED, RENAMED

#: How much alike two names must be; difflib's own default suggests strangers.
_ALIKE = 0.7
_SHORTEST_PART = 4
#: What scripts give to other classes than the training arguments, and what says the same here.
_OF_SCRIPTS = {
    "lora_config": "spec.model.lora",
    "model_name_or_path": "spec.model.source",
    "peft_config": "spec.model.lora",
    "similarity_fn_name": "spec.model.similarity",
    "truncate_dim": "spec.training.loss.matryoshkaDimensions",
}


#: What columns and adapters are called elsewhere, and here.
_ALSO_CALLED = {"anchor": "query", "answer": "positive", "passage": "document", "r": "rank"}


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that is spelled most like `name`, or that holds it, or None."""
    by_plain = {_plain(candidate): candidate for candidate in known}
    wanted = _plain(name)
    alike = difflib.get_close_matches(wanted, by_plain, n=1, cutoff=_ALIKE)
    if alike:
        return by_plain[alike[0]]
    if len(wanted) < _SHORTEST_PART:
        return None
    return next((candidate for plain, candidate in by_plain.items() if wanted in plain), None)


def suggest_field(name: str, siblings: Iterable[str]) -> str:
    """Return what to do about a field that is not one of `siblings`: one of them, or its right place, is named."""
    known = list(siblings)
    same = [field for field in known if _plain(field) == _plain(name)]
    elsewhere = sorted(_paths_of(name, job_schema()), key=len)
    called = [_ALSO_CALLED[name]] if _ALSO_CALLED.get(name) in known else []
    meant = next(iter([*same, *called, *elsewhere]), None) or closest(name, known)
    if meant is not None:
        return f"did you mean {meant}?"
    return _said_by_scripts(name) or f"the fields here are {', '.join(known)}"


def _said_by_scripts(name: str) -> str | None:
    """Return what the manifest has in place of the library's argument `name`; None if the library has none."""
    fixes = {
        **{old: f"write {new} below spec.training.arguments" for old, new in RENAMED.items()},
        **{one: f"write {one} below spec.training.arguments" for one in PASSED - RENAMED.keys()},
        **{one: f"leave it out: {because}" for one, because in REFUSED.items()},
        **{one: f"{field.partition(':')[0]} decides" for one, field in {**OURS, **_OF_SCRIPTS}.items()},
        **MEANT,
    }
    return {_plain(one): fix for one, fix in fixes.items()}.get(_plain(name))


def suggest_value(value: object, known: Iterable[object]) -> str:
    """Return which of the `known` values to write."""
    names = [str(one) for one in known if one not in LOSS_ALIASES]
    if value in NOT_LOSSES:
        return NOT_LOSSES[str(value)]
    meant = closest(str(value), names)
    return f"did you mean {meant}?" if meant else f"write {' or '.join(names)}"


def _paths_of(name: str, schema: Schema, path: str = "") -> Iterator[str]:
    """Yield the paths of all fields that are called `name`, but for its case."""
    for key, below in schema.get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        if _plain(key) == _plain(name):
            yield here
        yield from _paths_of(name, below, here)
        yield from _paths_of(name, below.get("items", {}), f"{here}[]")


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
