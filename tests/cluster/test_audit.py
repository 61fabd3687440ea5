import json
from pathlib import Path

import pytest

from tests.cluster import audit

OPERATOR = "system:serviceaccount:finetune-system:finetune-operator"


def line(user: str, *, stage: str = "ResponseComplete", code: int = 200, namespace: str = "search") -> str:
    """Return an event of the audit log, cut down to what tells a write."""
    event = {"stage": stage, "verb": "patch", "user": {"username": user}, "responseStatus": {"code": code}}
    return json.dumps(event | {"objectRef": {"resource": "jobs", "namespace": namespace}})


def test_the_writes_of_one_user_are_counted_refused_ones_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "audit.log"
    events = [line(OPERATOR), line("admin"), line(OPERATOR, code=409), line(OPERATOR, stage="ResponseStarted")]
    events += [line(OPERATOR, namespace="elsewhere")]
    log.write_text("\n".join(events) + "\n")
    monkeypatch.setattr(audit, "AUDIT_LOG", log)

    assert (audit.count_writes(OPERATOR), audit.count_writes(OPERATOR, namespace="search")) == (3, 2)
