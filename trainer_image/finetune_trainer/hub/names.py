"""How the Hub names things."""

import re

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit_id(text: object) -> bool:
    """Say whether this can be the name of a commit; some answers have none, or an empty one."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None
