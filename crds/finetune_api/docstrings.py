"""What is written under the attributes of a class, for the schemas that tell people of them."""

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise


def of_attributes(model: type) -> dict[str, str]:
    """Return the texts under the annotated attributes of a class and of those that it inherits from, by name."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        found |= _of_module(one.__module__).get(one.__qualname__, {})
    return found


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return them by class; each source is parsed once, and only if it is this project's."""
    if name.partition(".")[0] != __package__:
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    return {item.name: dict(_of_body(item.body)) for item in tree.body if isinstance(item, ast.ClassDef)}


def _of_body(body: list[ast.stmt]) -> list[tuple[str, str]]:
    return [
        (field.target.id, inspect.cleandoc(text.value.value))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    ]
