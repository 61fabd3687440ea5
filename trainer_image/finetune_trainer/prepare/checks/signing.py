"""Writes recipe/arguments/signatures.json from the installed library. Imports torch.

`make generate` runs it as a program. Prepare asks the library itself, through the same functions.
"""

import inspect
from typing import Any, get_type_hints

from finetune_api.losses import Kind
from finetune_trainer.prepare.checks.arguments import signature_of
from finetune_trainer.recipe.arguments.json_types import ANYTHING, Schema, schema_of
from finetune_trainer.recipe.arguments.signatures import FILE, Argument, Signatures, stated_default
from finetune_trainer.recipe.losses.table import entries
from finetune_trainer.recipe.model.vocabulary import CLASSES, TOKENS, arguments_of, constructor

_KINDS: tuple[Kind, ...] = ("Embedding", "Reranker")
_TEXT: Schema = {"type": "string"}
#: Where a manifest writes something else than the class takes.
_WRITTEN: dict[str, Schema] = {
    "activation_function": {"anyOf": [_TEXT, {"type": "null"}]},
    **dict.fromkeys(TOKENS, _TEXT),
}
#: What follows from the module before, or from the library's own detection, when it is left out.
_FOUND = "own"


def installed() -> Signatures:
    """Return what the installed library takes."""
    return Signatures(
        arguments={kind: signature_of(kind) for kind in _KINDS},
        losses={kind: {name: entry.signature for name, entry in sorted(entries(kind).items())} for kind in _KINDS},
        modules={name: module_signature(name) for name in sorted(CLASSES)},
    )


def module_signature(name: str) -> dict[str, Argument]:
    """Return what a manifest may give to the class `name`."""
    declared = inspect.signature(constructor(name)).parameters
    hints = get_type_hints(constructor(name))
    return {one: _argument(one, declared.get(one), hints.get(one, Any)) for one in arguments_of(name)}


def _argument(name: str, declared: inspect.Parameter | None, hint: Any) -> Argument:  # noqa: ANN401 - any type
    schema = _WRITTEN[name] if name in _WRITTEN else ANYTHING if hint is Any else schema_of(hint)
    default = stated_default(declared.default) if declared is not None else None
    return Argument(takes=dict(schema), default=default or _FOUND)


def main() -> None:
    """Write the file."""
    FILE.write_text(installed().render(), encoding="utf-8")


if __name__ == "__main__":
    main()
