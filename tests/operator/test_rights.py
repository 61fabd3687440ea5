"""Rights that are taken away and given back while the operator runs."""

import pytest

from finetune_operator.shell.rights import Rights
from finetune_operator.shell.wire import Call

PATCH = Call(method="PATCH", path="/apis/finetune.dev/v1alpha1/namespaces/search/finetunejobs/a/status")
REVOKED = 'finetunejobs "a" is forbidden: User "x" cannot patch resource "finetunejobs/status" in API group'


def test_a_right_that_is_missing_is_said_once_and_that_it_is_there_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    rights = Rights()

    rights.note(PATCH, 403, REVOKED)
    rights.note(PATCH, 403, REVOKED)
    missing = rights.missing()
    rights.note(PATCH, 200, "")

    assert (missing, rights.missing()) == ([("PATCH", "finetunejobs/status")], [])
    assert [record.message for record in caplog.records] == ["a right is missing", "a right is there again"]


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "exceeded quota: count/jobs.batch"), (409, "the object has been modified"), (0, ""), (500, "etcd")],
)
def test_a_quota_or_another_error_is_no_missing_right(status: int, message: str) -> None:
    rights = Rights()

    rights.note(PATCH, status, message)

    assert rights.missing() == []
