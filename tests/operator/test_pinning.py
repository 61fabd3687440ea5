"""One trainer image for a whole run, whatever the operator's own or a tag comes to be meanwhile."""

from dataclasses import replace

import pytest

from finetune_api.status import FinetuneJobStatus, ImageStatus, Phase
from finetune_api.types import FinetuneJob
from finetune_operator.core.decide import decide
from finetune_operator.core.decision import Decision
from finetune_operator.core.observed import ContainerView, Observed
from finetune_operator.core.pinning import resolve
from tests.operator.given import PLATFORM, PREPARED, T0, TRAINED, a_job, look, while_training, with_status

UPGRADED = replace(PLATFORM, trainer_image="registry.example/trainer:2")
DIGEST = "sha256:" + "a" * 64


def images(decision: Decision) -> set[str]:
    jobs = [item for item in decision.apply if item["kind"] == "Job"]
    return {c["image"] for job in jobs for c in job["spec"]["template"]["spec"]["containers"]}


def prepared(image_id: str) -> Observed:
    (pod,) = PREPARED.pods
    containers: tuple[ContainerView, ...] = tuple(replace(one, image_id=image_id) for one in pod.containers)
    return replace(PREPARED, pods=(replace(pod, containers=containers),))


def begun() -> FinetuneJob:
    return with_status(a_job(), look(a_job()).status)


def test_an_upgrade_of_the_operator_changes_no_image_of_a_run_on_its_way() -> None:
    gang = decide(begun(), PREPARED, T0, platform=UPGRADED)
    publish = decide(while_training(), TRAINED, T0, platform=UPGRADED)

    assert images(gang) == images(publish) == {"registry.example/trainer:1"}
    assert gang.status.image == ImageStatus(name="registry.example/trainer:1")


def test_the_gang_that_is_made_as_soon_as_prepare_is_done_runs_the_digest_that_prepare_ran() -> None:
    decision = look(begun(), prepared(f"registry.example/trainer@{DIGEST}"))

    assert images(decision) == {f"registry.example/trainer@{DIGEST}"}
    assert decision.status.image == ImageStatus(name=f"registry.example/trainer@{DIGEST}")


def test_an_image_that_the_owner_changes_is_that_of_the_next_child() -> None:
    job = while_training()
    changed = with_status(a_job(image="registry.example/fixed:2"), job.status)

    decision = look(changed, TRAINED)

    assert images(decision) == {"registry.example/fixed:2"}
    assert decision.status.image == ImageStatus(name="registry.example/fixed:2", requested="registry.example/fixed:2")


def test_a_rerun_begins_with_the_image_that_the_operator_has_then() -> None:
    failed = FinetuneJobStatus(
        phase=Phase.FAILED, attempt=1, observed_generation=1, image=ImageStatus(name="registry.example/trainer:1")
    )

    decision = decide(a_job(status=failed, rerun="again"), Observed(), T0, platform=UPGRADED)

    assert images(decision) == {"registry.example/trainer:2"}


@pytest.mark.parametrize(
    ("name", "image_id", "expected"),
    [
        (
            "registry:5000/team/trainer:1",
            f"registry:5000/team/trainer@{DIGEST}",
            f"registry:5000/team/trainer@{DIGEST}",
        ),
        ("registry:5000/trainer", f"registry:5000/trainer@{DIGEST}", f"registry:5000/trainer@{DIGEST}"),
        ("trainer:1", f"docker.io/library/trainer@{DIGEST}", f"trainer@{DIGEST}"),
        ("registry/trainer:1", f"docker.io/library/import-2026-11-29@{DIGEST}", "registry/trainer:1"),
        ("registry/trainer:1", DIGEST, "registry/trainer:1"),
        ("registry/trainer:1", "", "registry/trainer:1"),
        (f"registry/trainer@{DIGEST}", "registry/trainer@sha256:b", f"registry/trainer@{DIGEST}"),
    ],
)
def test_a_digest_is_used_where_a_registry_knows_it(name: str, image_id: str, expected: str) -> None:
    assert resolve(name, image_id) == expected
