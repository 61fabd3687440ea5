"""What this operator has made or found lately: it is taken to be there, without asking each time.

Only for children that no watch shows (ConfigMaps, Services, claims), which several steps of a job need. Whoever removes
one by hand is noticed a few minutes later.
"""

import time
from collections.abc import Callable

from finetune_operator.core.decision import Manifest

BELIEVED_SECONDS = 300.0

Key = tuple[str, str, str]


class Known:
    """Names by kind and namespace; `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Key, float] = {}

    def has(self, manifest: Manifest) -> bool:
        """Tell whether the object is there, as far as is known."""
        return self._until.get(_key(manifest), 0.0) > self._clock()

    def note(self, manifest: Manifest) -> None:
        """Note that it is there; forget what is so no longer believed."""
        now = self._clock()
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]
        self._until.pop(_key(manifest), None)
        self._until[_key(manifest)] = now + BELIEVED_SECONDS

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Note that it is gone, or about to be."""
        self._until.pop((kind, namespace, name), None)


def _key(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata["namespace"], metadata["name"]
