"""What the API server noted of who wrote what: `AUDIT_POLICY` in control_plane.py says what that is."""

import json
from typing import Any

from tests.cluster.control_plane import AUDIT_LOG


def count_writes(user: str, *, namespace: str = "") -> int:
    """Return how many writes of a user the API server has answered since it was started, refused ones included.

    Of a namespace, if one is given.
    """
    with AUDIT_LOG.open() as lines:
        return sum(_is_write_of(user, json.loads(line), namespace=namespace) for line in lines)


def _is_write_of(user: str, event: dict[str, Any], *, namespace: str) -> bool:
    is_there = namespace in ("", event.get("objectRef", {}).get("namespace"))
    return is_there and event["stage"] == "ResponseComplete" and event["user"]["username"] == user
