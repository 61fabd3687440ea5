import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune_api.crd import build_crd, render
from finetune_api.manifest import job_schema
from finetune_api.reference import render_api, render_losses, render_reasons
from finetune_cli.manifest.rules import broken_rules, evaluate
from finetune_cli.manifest.structure import walk, with_defaults
from tests.api.conftest import MINIMAL
from tests.api.test_rules import ACCEPTED, REFUSED_CHANGES, REJECTED
from tests.stack.jobs import change

ROOT = Path(__file__).parents[2]


def version() -> dict[str, Any]:
    (only,) = build_crd()["spec"]["versions"]
    assert isinstance(only, dict)
    return only


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, item in schema.get("properties", {}).items():
        yield from nodes(item, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def stated_rules() -> set[tuple[str, str]]:
    """Return where each rule stands that says something about a new job, and its message."""
    return {
        (path, rule["message"])
        for path, node in nodes(version()["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")
        for rule in node.get("x-kubernetes-validations", [])
        if "oldSelf" not in rule["rule"]
    }


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("crds/finetunejobs.yaml", render()),
        ("docs/api.md", render_api()),
        ("docs/losses.md", render_losses()),
        ("docs/reasons.md", render_reasons()),
    ],
    ids=["crd", "api", "losses", "reasons"],
)
def test_the_committed_file_is_what_the_types_generate(path: str, content: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == content, "run `make generate`"


def test_kubectl_delete_all_does_not_mean_finetunejobs_whose_volumes_would_go_with_them() -> None:
    assert "categories" not in build_crd()["spec"]["names"]


def test_every_field_of_the_spec_and_the_status_is_described() -> None:
    schema = version()["schema"]["openAPIV3Schema"]["properties"]
    undescribed = [
        path
        for part in ("spec", "status")
        for path, node in nodes(schema[part], part)
        if not path.endswith("[]") and not node.get("description")
    ]

    assert undescribed == []


def test_no_part_of_the_schema_is_unknown_to_kubernetes() -> None:
    known = {
        "type", "description", "properties", "required", "items", "additionalProperties", "default", "enum", "pattern",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
        "minProperties", "maxProperties", "x-kubernetes-validations", "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
    }  # fmt: skip
    found = {key for _, node in nodes(version()["schema"]["openAPIV3Schema"]) for key in node}

    assert found - known == set()


def test_the_api_server_keeps_one_owner_for_each_object_of_a_status() -> None:
    parts = version()["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    objects = [part for part in parts.values() if part["type"] == "object"]

    assert objects
    assert all(part["x-kubernetes-map-type"] == "atomic" for part in objects)


def test_the_status_of_a_new_object_is_not_mistaken_for_a_healthy_one() -> None:
    status = version()["schema"]["openAPIV3Schema"]["properties"]["status"]

    assert status["default"] == {"observedGeneration": -1}
    assert version()["subresources"] == {"status": {}}


def test_kubectl_get_shows_status_progress_loss_and_score() -> None:
    columns = [(column["name"], column.get("priority", 0)) for column in version()["additionalPrinterColumns"]]

    assert columns == [
        ("Status", 0), ("Progress", 0), ("Loss", 0), ("Score", 0), ("Restarts", 0), ("Age", 0),
        ("Metric", 1), ("Baseline", 1), ("ETA", 1), ("Processes", 1), ("Model", 1), ("Commit", 1),
    ]  # fmt: skip


def test_every_rule_is_shown_to_reject_something_wherever_it_stands() -> None:
    broken = [
        (re.sub(r"\[\d+\]|(?<=routes)\.\w+", "[]", one.path), one.told.text)
        for changes, _ in REJECTED.values()
        for one in broken_rules(change(MINIMAL, **changes))
    ]

    assert {
        rule for rule in stated_rules() if not any(at == rule[0] and rule[1] in text for at, text in broken)
    } == set()


def test_every_rule_is_shown_to_accept_something_wherever_it_stands() -> None:
    accepted = {
        (re.sub(r"\[\d+\]|(?<=routes)\.\w+", "[]", path), rule["message"])
        for changes in ACCEPTED.values()
        for path, value, schema in walk(with_defaults(change(MINIMAL, **changes), job_schema()), job_schema())
        for rule in schema.get("x-kubernetes-validations", [])
        if "oldSelf" not in rule["rule"] and evaluate(rule["rule"], value) is True
    }

    assert stated_rules() - accepted == set()


def test_every_part_that_is_immutable_is_shown_to_be() -> None:
    immutable = {
        rule["message"].partition(" ")[0]
        for _, node in nodes(version()["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")
        for rule in node.get("x-kubernetes-validations", [])
        if "oldSelf" in rule["rule"]
    }

    assert immutable == {f"spec.{field}" for field, _ in REFUSED_CHANGES} | {"spec.storage.size"}
