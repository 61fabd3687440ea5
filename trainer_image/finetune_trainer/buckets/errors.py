"""Answers of buckets as reasons of ours. Translated once, here."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from obstore.exceptions import BaseError, InvalidPathError

from finetune_api.reasons import Reason
from finetune_trainer.buckets.clients import Bucket
from finetune_trainer.workspace.failures import RunFailure

# The client has one exception for most of what is wrong; what it is, its text says, and what the text quotes.
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_WORDS = re.compile(r"<Message>([^<]+)</Message>")
_INVALID_PATH = re.compile(r'Path "([^"]+)"')
_HEADER = re.compile(r"<Header>([^<]+)</Header>")
_ON_THE_WAY = re.compile(r'(?:message|error): "([^"]+)"|InvalidCertificate\(\s*(\w+)')
_REDIRECT = "redirect without LOCATION"

_NO_BUCKET = frozenset({"NoSuchBucket", "InvalidBucketName", "ContainerNotFound"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"})
_BAD_KEYS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthenticationFailed"}
)
_TRY_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})


@contextmanager
def told_as_failures(what: str, bucket: Bucket, *, refused: Reason) -> Iterator[None]:
    """Turn errors of the client inside the block into RunFailure; `what` says what was tried.

    Keys that are none: TokenRefused. No answer, or try again: HubUnavailable. All else, such as a bucket that is not
    there or may not be used: `refused`.
    """
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        if isinstance(error, FileNotFoundError) and error.errno is not None:  # a file of ours
            raise
        raise as_failure(error, what, bucket, refused=refused) from error


def as_failure(error: BaseException, what: str, bucket: Bucket, *, refused: Reason) -> RunFailure:
    """Return what an error of the client means."""
    text, secret = str(error), f"the Secret of {bucket.field}"
    status, code = _found(_STATUS, text), _found(_CODE, text)
    told = " ".join(part for part in (status, code) if part) or _found(_ON_THE_WAY, text) or text.partition("\n")[0]
    is_missing = isinstance(error, FileNotFoundError) or status == "404"
    if code in _BAD_KEYS or status == "401":
        because = f"{bucket.endpoint} does not accept the keys ({told}); put valid ones into {secret}"
        return RunFailure(Reason.TOKEN_REFUSED, f"{what}: {because}")
    if "InvalidCertificate" in text:
        because = f"the certificate of {bucket.endpoint} is not trusted ({told})"
        hint = "name the file of the authority that signed it in SSL_CERT_FILE, by spec.podTemplate or the chart"
        return RunFailure(Reason.HUB_UNAVAILABLE, f"{what}: {because}; {hint}")
    if (never := _never(error, bucket)) is not None:
        because = never
    elif bucket.source.scheme == "s3" and (code in _ELSEWHERE or _REDIRECT in text):
        words = html.unescape(_found(_WORDS, text) or told)
        because = f"the bucket is in another region ({words}); set AWS_REGION in {secret} to its own"
    elif code in _NO_BUCKET:
        because = (
            f"{bucket.endpoint} has no bucket {bucket.source.bucket}; correct its name, or the endpoint in {secret}"
        )
    elif is_missing:
        because = "there is nothing; name a path with files below it"
    elif status == "403" and bucket.is_anonymous:
        because = f"it may not be used without keys ({told}); name a Secret with keys in {bucket.field}"
    elif status == "403":
        because = f"these keys may not do that ({told}); give them the right to, or put others into {secret}"
    elif status is None or int(status) >= HTTPStatus.INTERNAL_SERVER_ERROR or int(status) in _TRY_AGAIN:
        because = f"{bucket.endpoint} did not answer as it should ({told}); wait, or correct the endpoint in {secret}"
        return RunFailure(Reason.HUB_UNAVAILABLE, f"{what}: {because}")
    else:
        because = f"{bucket.endpoint} refuses it ({told}); look at {secret}"
    return RunFailure(refused, f"{what}: {because}")


def _never(error: BaseException, bucket: Bucket) -> str | None:
    """Return what no further try and no other settings would change."""
    text = str(error)
    if isinstance(error, InvalidPathError):
        name = _found(_INVALID_PATH, text) or text.partition("\n")[0]
        return f'"{name}" cannot be the name of a file; rename that object, or name a path without it'
    if _found(_STATUS, text) == "501":
        words = html.unescape(" ".join(filter(None, (_found(_WORDS, text), _found(_HEADER, text)))))
        unknown = f"{bucket.endpoint} does not know what it is asked ({words or '501 Not Implemented'})"
        return f"{unknown}; name a bucket of a server that does"
    return None


def _found(pattern: re.Pattern[str], text: str) -> str | None:
    """Return the last of what a pattern finds: the innermost cause comes last."""
    found = [next(filter(None, match.groups())) for match in pattern.finditer(text)]
    return found[-1] if found else None
