"""What the API server noted of who wrote what: `AUDIT_POLICY` in control_plane.py says what that is."""

import json

from tests.cluster.control_plane import AUDIT_LOG


def count_writes(user: str) -> int:
    """Return how many writes of a user the API server has answered since it was started, refused ones included."""
    with AUDIT_LOG.open() as lines:
        return sum(_is_write_of(user, json.loads(line)) for line in lines)


def _is_write_of(user: str, event: dict[str, object]) -> bool:
    by = event["user"]
    return event["stage"] == "ResponseComplete" and isinstance(by, dict) and by["username"] == user
