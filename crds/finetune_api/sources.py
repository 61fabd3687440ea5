"""Where a model or a dataset comes from: `hf://owner/name` or `pvc://claim/path`."""

import re
from dataclasses import dataclass

HUB_SOURCE = r"hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
CLAIM_SOURCE = r"pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[A-Za-z0-9._-]+)*"
SOURCE_FIX = "write hf://OWNER/NAME for a Hub repository or pvc://CLAIM/PATH for a folder on a volume claim"


@dataclass(frozen=True)
class HubSource:
    """A repository on the Hub, for example `Qwen/Qwen3-VL-Embedding-2B`."""

    repository: str


@dataclass(frozen=True)
class ClaimSource:
    """A folder on a PersistentVolumeClaim; `path` is relative and never leaves the claim."""

    claim: str
    path: str


def parse_source(source: str) -> HubSource | ClaimSource:
    """Return what `source` names; raises ValueError with the fix for anything else."""
    if re.fullmatch(HUB_SOURCE, source):
        return HubSource(repository=source.removeprefix("hf://"))
    if re.fullmatch(CLAIM_SOURCE, source) and ".." not in source.split("/"):
        claim, _, path = source.removeprefix("pvc://").partition("/")
        return ClaimSource(claim=claim, path=path)
    raise ValueError(f"{source!r} names no source; {SOURCE_FIX}")
