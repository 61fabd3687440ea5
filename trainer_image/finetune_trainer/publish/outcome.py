"""How publishing ended."""

from dataclasses import dataclass

from finetune_api.reasons import Reason
from finetune_api.status import PublishedStatus


@dataclass(frozen=True)
class Outcome:
    """A good end; others are failures."""

    reason: Reason
    message: str
    published: PublishedStatus | None = None
    warnings: tuple[str, ...] = ()
