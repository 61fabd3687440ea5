"""Manifests to start from: the smallest valid one, changed by dotted paths."""

import copy
from typing import Any

import pytest

MINIMAL: dict[str, Any] = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FinetuneJob",
    "metadata": {"name": "job", "namespace": "default", "uid": "0000-1111"},
    "spec": {
        "model": {"source": "hf://acme/base"},
        "data": {"train": [{"name": "pages", "source": "hf://acme/pages"}]},
    },
}


@pytest.fixture
def minimal() -> dict[str, Any]:
    return copy.deepcopy(MINIMAL)
