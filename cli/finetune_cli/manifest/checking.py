"""Everything that can be said about a manifest without a cluster, a network or the trainer's libraries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from finetune_api.manifest import API_VERSION, Schema, job_schema
from finetune_api.near import closest
from finetune_api.problem import Problem
from finetune_api.problems import check_spec
from finetune_api.types import GROUP, KIND, FinetuneJobSpec
from finetune_cli.manifest.documents import Document, join
from finetune_cli.manifest.fields import field_problems
from finetune_cli.manifest.free_form import check_free_form
from finetune_cli.manifest.rules import broken_rules
from finetune_cli.manifest.sentences import Told, shown, tell
from finetune_cli.manifest.structure import as_sent, children, replaced
from finetune_trainer.recipe.arguments.signatures import committed

DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Job:
    """A FinetuneJob without problems."""

    namespace: str
    name: str
    spec: FinetuneJobSpec
    manifest: dict[str, Any]
    """As kubectl would send it."""


def is_job(document: Document) -> bool:
    """Say whether a document is a FinetuneJob or was meant to be one; others are not ours to judge."""
    content = document.content
    if not isinstance(content, dict):
        return True
    version, kind = content.get("apiVersion"), content.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return True
    return version.partition("/")[0] == GROUP or closest(kind, [KIND]) is not None


def check(content: Any) -> Job | list[Told]:  # noqa: ANN401 - whatever the file holds
    """Return the job, or everything that is wrong with it."""
    if not isinstance(content, dict):
        return [Told("", f"a FinetuneJob is expected, not {shown(content)}; begin with apiVersion: {API_VERSION}")]
    manifest = as_sent(content, job_schema())
    refused = refusals(manifest)
    wrong = [one.path for one in refused if not one.is_rule]
    spec = _parse(_mended(manifest, job_schema(), wrong))
    further = spec if isinstance(spec, list) else [*check_spec(spec), *check_free_form(spec, committed())]
    told = [tell(one) for one in further if not _is_around(one.path, wrong) and not _is_below(one.path, wrong)]
    if refused or told or isinstance(spec, list):
        return [*refused, *told]
    metadata = manifest["metadata"]
    name = metadata.get("name") or metadata["generateName"].rstrip("-.")
    namespace = metadata.get("namespace", DEFAULT_NAMESPACE)
    return Job(namespace=namespace, name=name, spec=spec, manifest=manifest)


def refusals(manifest: dict[str, Any]) -> list[Told]:
    """Return what the API server refuses, by the schema and by its rules."""
    told = [tell(problem) for problem in [*field_problems(manifest, job_schema()), *_check_name(manifest)]]
    wrong = [one.path for one in told]
    # A rule that cannot be evaluated because of a wrong type says nothing new.
    rules = [one.told for one in broken_rules(manifest) if one.is_evaluated or not _is_around(one.path, wrong)]
    return [*told, *rules]


def _check_name(manifest: dict[str, Any]) -> Iterator[Problem]:
    metadata = manifest.get("metadata")
    if isinstance(metadata, dict) and not metadata.keys() & {"name", "generateName"}:
        yield Problem("metadata.name", None, "", "add it: the name of the job")


def _parse(manifest: dict[str, Any]) -> FinetuneJobSpec | list[Problem]:
    """Return the spec, or what only the models find wrong: the schema has been looked at before."""
    given = manifest["spec"]
    try:
        return FinetuneJobSpec.model_validate(given, by_alias=True, by_name=False)
    except ValidationError as error:
        return [
            Problem(_path_of(entry["loc"], given), entry["input"], entry["msg"], "")
            for entry in error.errors(include_url=False)
        ]


def _path_of(location: Sequence[str | int], value: Any) -> str:  # noqa: ANN401 - JSON
    """Return the field path of pydantic's location, which also names the branches of unions."""
    path = "spec"
    for key in location:
        inside = isinstance(value, list) if isinstance(key, int) else isinstance(value, dict) and key in value
        if inside:
            path, value = join(path, key), value[key]
    return path


def _mended(value: Any, schema: Schema, wrong: Sequence[str], path: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return a copy that can be parsed although something is wrong at the paths `wrong`, to look at the rest."""
    if isinstance(value, list):
        value = [_stand_in(schema["items"]) if join(path, i) in wrong else item for i, item in enumerate(value)]
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if join(path, key) not in wrong}
        absent = [name for name in schema.get("required", []) if name not in value]
        value |= {name: _stand_in(schema["properties"][name]) for name in absent}
    known = {key: _mended(item, below, wrong, join(path, key)) for key, item, below in children(value, schema)}
    return replaced(value, known)


def _stand_in(schema: Schema) -> Any:  # noqa: ANN401 - JSON
    """Return a value of the right type."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [_stand_in(schema["items"])]
    return {"object": {}, "integer": 1, "number": 1, "boolean": False}.get(schema.get("type", ""), "x")


def _is_around(path: str, others: Sequence[str]) -> bool:
    """Say whether one of `others` is at `path` or below it."""
    return any(other == path or other.startswith((f"{path}.", f"{path}[")) for other in others)


def _is_below(path: str, others: Sequence[str]) -> bool:
    """Say whether `path` is below one of `others`."""
    return any(path.startswith((f"{other}.", f"{other}[")) for other in others)
