"""Names of children: valid, unique, the same every time."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.types import ObjectMeta
from finetune_operator.core import names
from tests.operator.given import BASE, UID, a_job

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
JOB_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?", fullmatch=True).filter(
    lambda name: ".." not in name and ".-" not in name and "-." not in name
)


def test_names_are_readable() -> None:
    job = a_job()

    assert [
        names.run_config(job),
        names.workspace(job),
        names.ranks_service(job),
        names.child_job(names.base(job.metadata), Role.PREPARE),
        names.train_job(job, 3),
        names.child_job(names.base(job.metadata), Role.PUBLISH),
    ] == [f"{BASE}-{tail}" for tail in ("config-44e0ae4e", "workspace", "ranks", "prepare", "train-3", "publish")]


@settings(deadline=None)
@given(JOB_NAMES, st.integers(1, 9999), st.integers(0, 255))
def test_every_name_and_host_name_is_a_dns_label(name: str, attempt: int, index: int) -> None:
    job = a_job(name)

    found = [names.workspace(job), names.ranks_service(job), f"{names.train_job(job, attempt)}-{index}"]

    assert all(DNS_LABEL.fullmatch(item) and len(item) <= 63 for item in found)


@pytest.mark.parametrize(
    ("name", "start"), [("3d-parts", "ft-3d-parts-"), ("a.b", "a-b-"), ("x" * 253, "x" * 36 + "-")]
)
def test_awkward_job_names_are_made_fit(name: str, start: str) -> None:
    found = names.base(a_job(name).metadata)

    assert found.startswith(start)
    assert found.removeprefix(start) == BASE.removeprefix("qwen-")


def test_two_objects_of_the_same_name_share_no_child() -> None:
    first, second = (ObjectMeta(name="a", namespace="b", uid=uid) for uid in ("1", "2"))

    assert names.base(first) != names.base(second)


def test_labels_hold_no_label_of_the_job_and_are_valid_for_long_names() -> None:
    labels = names.labels(a_job("y" * 62 + ".z" * 3), role=Role.TRAIN, attempt=2)

    assert labels == {
        "app.kubernetes.io/name": "finetunejob",
        "app.kubernetes.io/managed-by": "finetune-operator",
        keys.LABEL_JOB: "y" * 62,
        keys.LABEL_JOB_UID: UID,
        keys.LABEL_ROLE: "train",
        keys.LABEL_ATTEMPT: "2",
    }
