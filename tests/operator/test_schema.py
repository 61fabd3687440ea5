"""A CRD that is older than the operator."""

from copy import deepcopy
from typing import Any, cast

import pytest

from finetune_api.crd import build_crd
from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.schema import SchemaCheck, missing_fields
from finetune_operator.shell.wire import ApiError, Call

Schema = dict[str, Any]


def a_schema() -> Schema:
    (version,) = build_crd()["spec"]["versions"]
    return deepcopy(cast("Schema", version["schema"]["openAPIV3Schema"]))


def without(*paths: str) -> Schema:
    schema = a_schema()
    for path in paths:
        *parents, last = path.split(".")
        node = schema
        for name in parents:
            node = node["properties"][name.removesuffix("[]")]
            node = node["items"] if name.endswith("[]") else node
        del node["properties"][last]
    return schema


class Served:
    """An API server with a CRD, or one that says nothing about it."""

    def __init__(self, schema: Schema | None) -> None:
        self.schema = schema

    async def openapi(self, group: str, version: str) -> Schema:
        if self.schema is None:
            raise ApiError(Call(method="GET", path="/openapi"), 503, "no")
        kind = {"group": group, "kind": "FinetuneJob", "version": version}
        described = {**self.schema, "x-kubernetes-group-version-kind": [kind]}
        return {"components": {"schemas": {"other": {}, "dev.finetune.v1alpha1.FinetuneJob": described}}}


async def look(check: SchemaCheck, schema: Schema | None) -> list[str]:
    await check.look(cast("Cluster", Served(schema)))
    return check.missing


async def test_a_crd_of_this_release_lacks_nothing() -> None:
    assert await look(SchemaCheck(), a_schema()) == []


async def test_fields_that_an_older_crd_drops_are_named_until_it_is_upgraded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    check = SchemaCheck()
    older = without("status.restarts", "spec.data.train[].holdOut")

    found = [list(await look(check, schema)) for schema in (older, older, None, a_schema())]

    missing = ["spec.data.train[].holdOut", "status.restarts"]
    assert found == [missing, missing, missing, []]
    assert [record.message for record in caplog.records] == [
        "the CRD is older than the operator and drops fields; apply the CRD of this release",
        "the schema of the CRD cannot be read",
        "the CRD has all fields now",
    ]


def test_a_newer_crd_and_one_that_keeps_everything_lack_nothing() -> None:
    wanted: Schema = {"properties": {"spec": {"properties": {"a": {}}}}}
    newer: Schema = {"properties": {"spec": {"properties": {"a": {}, "b": {}}}}}
    lenient = {"properties": {"spec": {"x-kubernetes-preserve-unknown-fields": True}}}

    assert (list(missing_fields(wanted, newer)), list(missing_fields(wanted, lenient))) == ([], [])
