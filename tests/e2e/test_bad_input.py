"""Bad input gets a clear answer before any training pod exists."""

from typing import Any

import pytest

from tests.e2e.bad_inputs import push_bad_datasets
from tests.e2e.conftest import NAMESPACE, quick_job
from tests.e2e.gang import children
from tests.stack import jobs
from tests.stack.inputs import reach_hub
from tests.stack.install import WRITE_TOKEN
from tests.stack.kubectl import Kubectl, Manifest

pytestmark = pytest.mark.e2e

TRAIN = "data__train__0__"
#: What is changed, the reason that must be given, and words that the message must hold.
CASES: dict[str, tuple[dict[str, object], str, list[str]]] = {
    "missing-model": ({"model__source": "hf://demo/nowhere"}, "ModelNotFound", ["demo/nowhere"]),
    "missing-dataset": ({TRAIN + "source": "hf://demo/nowhere"}, "DatasetNotFound", ["demo/nowhere"]),
    "missing-revision": ({"model__revision": "v9"}, "ModelNotFound", ["v9"]),
    "missing-split": ({TRAIN + "split": "tran"}, "SplitNotFound", ["tran", "train", "eval"]),
    "missing-column": ({TRAIN + "columns__query": "question"}, "ColumnNotFound", ["question", "query", "image"]),
    "no-rows": ({TRAIN + "source": "hf://demo/no-rows"}, "EmptyDataset", ["pages"]),
    "broken-images": ({TRAIN + "source": "hf://demo/broken-images"}, "BadSamples", ["6 rows of 20", "row 0", "row 1"]),
    "text-only-model": ({"model__source": "hf://demo/all-minilm-l6-v2"}, "UnsupportedModality", ["image"]),
    "large-dims": ({"training__loss__matryoshkaDimensions": [4096, 64]}, "InvalidArgument", ["4096", "64"]),
    "wrong-argument": ({"training__loss__arguments": {"scal": 30}}, "InvalidArgument", ["scal", "scale"]),
    "wrong-token": ({"publish__tokenSecret__name": "wrong-token"}, "TokenRefused", ["publish.tokenSecret"]),
    "read-only-token": (
        {"publish__tokenSecret__name": "hub-read-token"},
        "WriteForbidden",
        ["publish.tokenSecret", "can only read"],
    ),
    "foreign-repository": ({"publish__repository": "other/model"}, "WriteForbidden", ["other/model"]),
    "one-column-twice": ({TRAIN + "columns__positive": "query"}, "InvalidSpec", ["spec.data.train[0].columns"]),
}


@pytest.fixture(scope="module")
def finished(kube: Kubectl) -> dict[str, Manifest]:
    """Every bad job, submitted together, at its end."""
    with reach_hub(kube) as endpoint:
        push_bad_datasets(endpoint)
    metadata = {"name": "wrong-token", "namespace": NAMESPACE}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": "hf_wrong"}})
    submitted = {name: quick_job(name, **changes) for name, (changes, _, _) in CASES.items()}
    kube.apply(*submitted.values())
    return {name: jobs.wait_until_finished(kube, job, seconds=1800) for name, job in submitted.items()}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_answered_with_its_reason_before_any_training_pod_exists(
    case: str, finished: dict[str, Manifest], kube: Kubectl
) -> None:
    _, reason, words = CASES[case]
    job = finished[case]

    validated: dict[str, Any] = jobs.condition(job, "Validated")

    assert (validated["status"], validated["reason"]) == ("False", reason), validated
    assert [word for word in words if word not in validated["message"]] == [], validated["message"]
    assert job["status"]["phase"] == "Failed"
    assert children(kube, "jobs", job, "train") == []


def test_a_secret_that_is_not_there_is_told_and_waited_for(kube: Kubectl) -> None:
    job = quick_job("late-secret", publish__tokenSecret__name="late")
    kube.apply(job)
    told = jobs.wait_until(kube, job, lambda found: _reason(found) == "SecretNotFound", seconds=1800)

    metadata = {"name": "late", "namespace": NAMESPACE}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": WRITE_TOKEN}})
    jobs.wait_until(kube, job, lambda found: jobs.condition(found, "Validated").get("status") == "True", seconds=1800)
    kube.delete(jobs.KIND, "late-secret", namespace=NAMESPACE)
    kube.delete("secret", "late", namespace=NAMESPACE)

    assert told["status"]["phase"] == "Preparing"
    assert "late" in jobs.condition(told, "Succeeded")["message"]


def _reason(job: Manifest) -> str:
    conditions = job.get("status", {}).get("conditions", [])
    return next((str(one["reason"]) for one in conditions if one["type"] == "Succeeded"), "")
