"""What was probably meant by a name that is not there."""

from collections.abc import Iterable, Iterator, Mapping

from finetune_api.losses import LOSS_ALIASES, NOT_LOSSES
from finetune_api.manifest import Schema, job_schema
from finetune_api.near import closest, holder, plain
from finetune_trainer.recipe.arguments.rules import MEANT, OURS, PASSED, REFUSED, RENAMED

_PIXELS = "write size: {shortest_edge: PIXELS, longest_edge: PIXELS} below spec.model.processorKwargs"
_SCALE = "write scale below the loss's arguments"
#: What scripts give to other classes than the training arguments, and what says the same here.
_OF_SCRIPTS = {
    "lora_config": "spec.model.lora decides",
    "max_pixels": _PIXELS,
    "min_pixels": _PIXELS,
    "model_name_or_path": "spec.model.source decides",
    "peft_config": "spec.model.lora decides",
    "scale": _SCALE,
    "similarity_fn_name": "spec.model.similarity decides",
    "temperature": f"{_SCALE}: 1 / temperature",
    "truncate_dim": "spec.training.loss.matryoshkaDimensions decides",
}

#: What fields are called elsewhere, and here.
_ALSO_CALLED = {
    "anchor": ("query",),
    "answer": ("positive",),
    "config": ("subset",),
    "count": ("perNode",),
    "dataset": ("source",),
    "gpu": ("accelerator",),
    "gpus": ("accelerator",),
    "max_samples": ("limit",),
    "passage": ("document",),
    "path": ("source",),
    "r": ("rank",),
    "repo_id": ("repository", "source"),
}
#: What precisions are called elsewhere, and here.
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "half": "float16"}


def suggest_field(name: str, siblings: Iterable[str]) -> str:
    """Return what to do about a field that is not one of `siblings`: one of them, or its right place, is named."""
    known = list(siblings)
    same = [field for field in known if plain(field) == plain(name)]
    called = [field for field in _ALSO_CALLED.get(name, ()) if field in known]
    near = [*same, *called, holder(name, known), *sorted(_paths_of(name, job_schema()), key=len)]
    meant = next(filter(None, near), None)
    if meant is None and (said := _said_of(name, _of_library())):
        return said
    if meant := meant or closest(name, known):
        return f"did you mean {meant}?"
    return _said_of(name, _OF_SCRIPTS) or f"the fields here are {', '.join(known)}"


def _said_of(name: str, fixes: Mapping[str, str]) -> str | None:
    """Return what the manifest has in place of `name`, however that is written; None if nothing is known of it."""
    return {plain(one): fix for one, fix in fixes.items()}.get(plain(name))


def _of_library() -> dict[str, str]:
    """Return what the manifest has in place of each training argument of the library."""
    return {
        **{old: f"write {new} below spec.training.arguments" for old, new in RENAMED.items()},
        **{one: f"write {one} below spec.training.arguments" for one in PASSED - RENAMED.keys()},
        **{one: f"leave it out: {because}" for one, because in REFUSED.items()},
        **{one: f"{field.partition(':')[0]} decides" for one, field in OURS.items()},
        **MEANT,
    }


def suggest_value(value: object, known: Iterable[object]) -> str:
    """Return which of the `known` values to write."""
    names = [str(one) for one in known if one not in LOSS_ALIASES]
    if value in NOT_LOSSES:
        return NOT_LOSSES[str(value)]
    called = _DTYPES.get(str(value))
    meant = called if called in names else closest(str(value), names)
    return f"did you mean {meant}?" if meant else f"write {' or '.join(names)}"


def _paths_of(name: str, schema: Schema, path: str = "") -> Iterator[str]:
    """Yield the paths of all fields outside of lists that are called `name`, but for its case."""
    for key, below in schema.get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        if plain(key) == plain(name):
            yield here
        yield from _paths_of(name, below, here)
