"""What the operator is not allowed to do: said in the log once, and in a metric for as long as it lasts."""

import logging
from collections.abc import Iterable

from finetune_operator.shell.wire import FORBIDDEN, SUCCESS, Call

logger = logging.getLogger(__name__)
#: In RBAC's words alone: quotas and policies refuse with the same status.
MARK = " cannot "


class Rights:
    """Which requests were refused for want of a right when they were last sent."""

    def __init__(self) -> None:
        self._missing: set[tuple[str, str]] = set()

    def note(self, call: Call, status: int, message: str) -> None:
        """Note an answer."""
        right = (call.action, call.resource)
        extra = {"verb": call.action, "resource": call.resource}
        if status == FORBIDDEN and MARK in message and right not in self._missing:
            self._missing.add(right)
            logger.error("a right is missing", extra={**extra, "error": message})
        elif status in SUCCESS and right in self._missing:
            self._missing.discard(right)
            logger.info("a right is there again", extra=extra)

    def missing(self) -> Iterable[tuple[str, str]]:
        """Return verb and resource of each that is missing."""
        return sorted(self._missing)
