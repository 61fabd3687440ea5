"""The CRD's own rules (CEL, `x-kubernetes-validations`), evaluated here as the API server evaluates them there.

Rules that compare with the object before a change (`oldSelf`) say nothing about a new one and are left out.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]
from cel_expr_python.ext import ext_optional, ext_strings  # type: ignore[import-untyped]

from finetune_api.manifest import job_schema
from finetune_cli.manifest.sentences import Told, shown
from finetune_cli.manifest.structure import walk, with_defaults

_OLD = re.compile(r"\boldSelf\b")
_IS_SORTED = "-dimension).isSorted()"
_FIELD = re.compile(r"\bself((?:\.\w+)+)(?![\w(])")


@dataclass(frozen=True)
class Broken:
    """A rule about the value at `path` that does not hold, or that could not be evaluated for it."""

    path: str
    told: Told
    is_evaluated: bool


def broken_rules(manifest: Any) -> Iterator[Broken]:  # noqa: ANN401 - JSON
    """Yield every rule that the manifest, with defaults filled in, does not keep."""
    for path, value, schema in walk(with_defaults(manifest, job_schema()), job_schema()):
        for rule in schema.get("x-kubernetes-validations", []):
            if _OLD.search(rule["rule"]):
                continue
            holds = evaluate(rule["rule"], value)
            if holds is not True:
                yield Broken(path, _tell(path, value, rule), is_evaluated=holds is False)


def evaluate(expression: str, value: Any) -> bool | str:  # noqa: ANN401 - JSON
    """Return whether the rule holds for `value` as `self`, or why it cannot be evaluated."""
    result = _compile(expression).eval(data={"self": value})
    return bool(result.value()) if result.type() == cel.Type.BOOL else str(result.plain_value())


def _tell(path: str, value: Any, rule: dict[str, str]) -> Told:  # noqa: ANN401 - JSON
    """Return the rule's message with the value; of an object, with the fields that the rule looks at."""
    where = path + rule.get("fieldPath", "")
    if not isinstance(value, dict):
        ordered = f" (here {shown(sorted(set(value), reverse=True))})" if _IS_SORTED in rule["rule"] else ""
        return Told(where, f"{where}: {shown(value)}: {rule['message']}{ordered}", is_rule=True)
    names = dict.fromkeys(found[1:] for found in _FIELD.findall(rule["rule"]))
    found = ", ".join(f"{name} is {_show_field(value, name)}" for name in names)
    return Told(where, f"{where}: {rule['message']} (here {found})", is_rule=True)


def _show_field(value: Any, name: str) -> str:  # noqa: ANN401 - JSON
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "not set" if value is None else shown(value)


@functools.cache
def _compile(expression: str) -> cel.Expression:
    return _environment().compile(expression)


@functools.cache
def _environment() -> cel.Env:
    """Return CEL with what Kubernetes adds to it, as far as the CRD uses it.

    Source: https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries
    """
    is_sorted = cel.Overload("list_isSorted", cel.Type.BOOL, [cel.Type.LIST], is_member=True, impl=_is_sorted)
    return cel.NewEnv(
        variables={"self": cel.Type.DYN},
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
        functions=[cel.FunctionDecl("isSorted", [is_sorted])],
    )


def _is_sorted(values: Any) -> bool:  # noqa: ANN401 - a list of CEL
    known = list(values)
    return known == sorted(known)
