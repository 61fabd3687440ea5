"""What the API server has said yes to lately: of jobs that differ in their names alone, one is shown to it.

A dry run answers for everything but the name: schema, quota of the kind, policies of the namespace. What it says is
worth a few minutes; whatever it would say later is told when the child is made.
"""

import hashlib
import json
import time
from collections.abc import Callable

from finetune_api import keys
from finetune_api.types import FinetuneJob
from finetune_operator.core import names
from finetune_operator.core.decision import Manifest
from finetune_operator.shell.believed import Believed

BELIEVED_SECONDS = 300.0


class Rehearsed:
    """Manifests by their content; `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._taken: Believed[str, bool] = Believed(seconds=BELIEVED_SECONDS, clock=clock)

    def has(self, job: FinetuneJob, manifest: Manifest) -> bool:
        """Tell whether a manifest of the same content was taken lately."""
        return self._taken.get(_content(job, manifest)) is not None

    def note(self, job: FinetuneJob, manifest: Manifest) -> None:
        """Note that it was taken."""
        self._taken.note(_content(job, manifest), True)  # noqa: FBT003 - the answer was yes


def _content(job: FinetuneJob, manifest: Manifest) -> str:
    """Return a digest of the manifest without what tells one job from another."""
    metadata, pod = manifest["metadata"], manifest["spec"].get("template", manifest)
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    shown = [manifest["kind"], metadata["namespace"], metadata.get("labels"), annotations, manifest["spec"]]
    text = json.dumps(shown)
    own = (annotations.get(keys.ANNOTATION_SPEC_HASH), names.base(job.metadata), job.metadata.uid, job.metadata.name)
    for word in filter(None, own):
        text = text.replace(word, "\0")
    return hashlib.sha256(text.encode()).hexdigest()
