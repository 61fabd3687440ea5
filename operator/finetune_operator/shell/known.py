"""What this operator has made or found of a job's children: it is taken to be there, without asking each time.

Only for children that no watch shows (ConfigMaps, Services, claims), which several steps of a job need.
"""

from finetune_operator.core.decision import Manifest


class Known:
    """Kinds and names by the uid of the FinetuneJob."""

    def __init__(self) -> None:
        self._names: dict[str, set[tuple[str, str]]] = {}

    def has(self, uid: str, manifest: Manifest) -> bool:
        """Tell whether the object is there, as far as is known."""
        return _name(manifest) in self._names.get(uid, ())

    def note(self, uid: str, manifest: Manifest) -> None:
        """Note that it is there."""
        self._names.setdefault(uid, set()).add(_name(manifest))

    def forget(self, uid: str) -> None:
        """Believe nothing of a job any more: it has ended, something was removed, or its pods do not start."""
        self._names.pop(uid, None)


def _name(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]
