"""What is shown to the API server again, and what was shown already."""

from finetune_operator.core.decision import Manifest
from finetune_operator.shell.rehearsed import Rehearsed
from tests.operator.given import a_job, look


def rehearsal(annotation: str) -> dict[str, Manifest]:
    job = a_job(podTemplate={"all": {"annotations": {"team": annotation}}})
    return {f"{item['kind']}/{item['metadata']['labels']['finetune.dev/role']}": item for item in look(job).rehearse}


def test_a_pod_is_another_thing_than_its_job_and_than_a_pod_with_another_annotation() -> None:
    rehearsed, job = Rehearsed(clock=lambda: 0.0), a_job()
    one, other = rehearsal("search"), rehearsal("ads")

    rehearsed.note(job, one["Job/train"])
    before = rehearsed.has(job, one["Pod/train"])
    rehearsed.note(job, one["Pod/train"])

    assert (before, rehearsed.has(job, one["Pod/train"])) == (False, True)
    assert not rehearsed.has(job, other["Pod/train"])
    assert not rehearsed.has(job, other["Job/train"])
