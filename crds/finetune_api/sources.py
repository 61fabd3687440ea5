"""Where a model or a dataset comes from: `hf://owner/name`, `pvc://claim/path` or `s3://bucket/path`."""

import re
from dataclasses import dataclass

# The Hub's own rules, as huggingface_hub checks them: no "--", no "..", no ".git" at the end, 96 characters a part.
_NAME = r"[A-Za-z0-9_]((-|[.]|-[.]|[.]-)?[A-Za-z0-9_])*"
REPOSITORY = f"{_NAME}/{_NAME}"
MAX_NAME_LENGTH = 96
HUB_SOURCE = f"hf://{REPOSITORY}"
#: In CEL, of `self`: what the pattern cannot say.
FITS_THE_HUB = f"!self.endsWith('.git') && self.split('/').all(part, size(part) <= {MAX_NAME_LENGTH})"
# No part of the path is "." or "..": it stays inside the claim.
CLAIM_SOURCE = "pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[.]?[A-Za-z0-9_-][A-Za-z0-9._-]*)*"
# As in a claim, no part is "." or "..": clients and browsers would take it for another folder.
BUCKET_SOURCE = "(s3|gs|az)://[a-z0-9][a-z0-9._-]*(/[.]?[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*/?"
# As the distribution specification has it; a host comes first, which no registry is assumed for.
_PATH = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
ARTIFACT = f"oci://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{{1,5}})?(/{_PATH})+:[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}"
SOURCE_FIX = (
    "write hf://OWNER/NAME for a Hub repository, pvc://CLAIM/PATH for a folder on a volume claim, or s3://BUCKET/PATH, "
    "gs://BUCKET/PATH or az://CONTAINER/PATH for one in a bucket"
)


@dataclass(frozen=True)
class HubSource:
    """A repository on the Hub, for example `Qwen/Qwen3-VL-Embedding-2B`."""

    repository: str


@dataclass(frozen=True)
class ClaimSource:
    """A folder on a PersistentVolumeClaim; `path` is relative and never leaves the claim."""

    claim: str
    path: str


@dataclass(frozen=True)
class BucketSource:
    """What lies below a path in a bucket of S3 (`s3`), Google (`gs`) or Azure (`az`), or the one object there."""

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.scheme}://{self.bucket}/{self.path}".rstrip("/")


Source = HubSource | ClaimSource | BucketSource


def parse_source(source: str) -> Source:
    """Return what `source` names; raises ValueError with the fix for anything else."""
    if re.fullmatch(HUB_SOURCE, source) and _fits_the_hub(source):
        return HubSource(repository=source.removeprefix("hf://"))
    if re.fullmatch(CLAIM_SOURCE, source):
        claim, _, path = source.removeprefix("pvc://").partition("/")
        return ClaimSource(claim=claim, path=path)
    if re.fullmatch(BUCKET_SOURCE, source):
        scheme, _, place = source.partition("://")
        bucket, _, path = place.partition("/")
        return BucketSource(scheme=scheme, bucket=bucket, path=path.rstrip("/"))
    raise ValueError(f"{source!r} names no source; {SOURCE_FIX}")


def _fits_the_hub(source: str) -> bool:
    return not source.endswith(".git") and all(len(part) <= MAX_NAME_LENGTH for part in source.split("/"))
