"""A job with model and data in a bucket, whose model goes into it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import ObjectStore

from tests.cluster import addresses
from tests.e2e.conftest import NAMESPACE, quick_job
from tests.e2e.gang import children
from tests.s3 import program, running_s3
from tests.stack import jobs
from tests.stack.install import ROOT
from tests.stack.kubectl import Kubectl, Manifest
from tests.stack.target import Target

pytestmark = pytest.mark.e2e

INPUTS = ROOT / "build" / "inputs"
MODEL, PAGES = INPUTS / "models" / "demo" / "tiny-qwen3-vl", INPUTS / "datasets" / "demo" / "pages"
SECRET = "company-s3"
BUCKET = "s3://company/models/pages"


@pytest.fixture
def own_machine(target: Target) -> None:
    """This machine, which the nodes of our own cluster reach."""
    if not target.is_ours:
        pytest.skip("a given cluster does not reach servers of this machine")
    if program.find() is None:
        pytest.skip(program.MISSING)


@pytest.fixture
def secret(kube: Kubectl) -> Iterator[Callable[[dict[str, str]], None]]:
    """Return what makes the Secret of the bucket."""

    def make(content: dict[str, str]) -> None:
        metadata = {"name": SECRET, "namespace": NAMESPACE}
        kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content})

    yield make
    kube.delete("secret", SECRET, namespace=NAMESPACE)


def in_bucket(name: str, **changes: object) -> Manifest:
    """Return a job that takes its pages out of the bucket and puts its model into it."""
    pages = "s3://company/pages"
    target = {"publish__repository": None, "publish__tokenSecret": None, "publish__bucket": BUCKET}
    keys = {"buckets__secretName": SECRET, "publish__secretName": SECRET}
    sources = {"data__train__0__source": pages, "data__evaluation__0__source": pages}
    return quick_job(name, **{**sources, **keys, **target, **changes})


def models(store: ObjectStore) -> list[dict[str, Any]]:
    return list(json.loads(bytes(obstore.get(store, "models/pages/finetunejobs.json").bytes()))["models"])


def stored(store: ObjectStore, folder: str) -> set[str]:
    start = f"models/pages/{folder}/"
    return {meta["path"].removeprefix(start) for meta in obstore.list(store, start).collect()}


@pytest.mark.usefixtures("own_machine")
def test_a_job_reads_from_a_bucket_and_publishes_into_it(
    kube: Kubectl, submit: Callable[[Manifest], Manifest], secret: Callable[[dict[str, str]], None], tmp_path: Path
) -> None:
    with running_s3(tmp_path, host=addresses.HOST) as s3:
        store = s3.make_bucket("company")
        s3.upload(MODEL, store, "base")
        s3.upload(PAGES, store, "pages")
        secret(s3.settings())
        job = submit(in_bucket("buckets", model__source="s3://company/base"))

        ended = jobs.wait_until_finished(kube, job, seconds=900)
        pods = children(kube, "pods", job, "train")

        (model,) = models(store)
        files = stored(store, model["folder"])

    published = ended["status"].get("published", {})
    assert jobs.condition(ended, "Succeeded")["reason"] == "Published", ended["status"]
    assert published["url"] == f"{BUCKET}/{model['folder']}"
    assert published["commit"] == model["commit"]
    assert model["run"] == ended["status"]["run"]
    assert files == {file["path"] for file in model["files"]}
    assert {"modules.json", "model.safetensors", "README.md"} <= files
    volumes = [volume for pod in pods for volume in pod["spec"]["volumes"]]
    assert volumes != []
    assert [volume for volume in volumes if "secret" in volume] == []
