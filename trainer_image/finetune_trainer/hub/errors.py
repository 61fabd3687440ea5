"""Answers of the Hub as reasons of ours. Translated once, here."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx2
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]  # exported lazily

from finetune_api.reasons import Reason
from finetune_trainer.workspace.causes import causes, one_line
from finetune_trainer.workspace.failures import RunFailure

_TRY_AGAIN = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_LACKING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error came from, None if no answer came."""
    answers = [cause.response for cause in causes(error) if isinstance(cause, HfHubHTTPError | httpx2.HTTPStatusError)]
    return next((answer.status_code for answer in answers if answer is not None), None)


def is_unreachable(error: BaseException) -> bool:
    """Say whether the Hub did not answer, or answered that it cannot now."""
    status = status_of(error)
    if status is not None:
        return status in _TRY_AGAIN
    silent = (httpx2.TransportError, LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError)
    return any(isinstance(cause, silent) for cause in causes(error))


def asked_wait_seconds(error: BaseException) -> float:
    """Return how long the Hub asks to wait before the next try, by RateLimit or Retry-After; 0 if it does not ask."""
    for cause in causes(error):
        if isinstance(cause, HfHubHTTPError | httpx2.HTTPStatusError) and cause.response is not None:
            return pause_seconds(cause.response.headers)
    return 0.0


def pause_seconds(headers: Mapping[str, str]) -> float:
    """Return how long an answer asks to wait, 0 if it does not ask."""
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    asked = headers.get("Retry-After", "").strip()
    if asked.isdigit():
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def lacks_call(error: BaseException) -> bool:
    """Say whether the Hub does not know this call at all; what it says is missing by code is something else."""
    for cause in causes(error):
        if isinstance(cause, HfHubHTTPError | httpx2.HTTPStatusError):
            return cause.response.status_code in _LACKING and "X-Error-Code" not in cause.response.headers
    return False


def is_missing_repository(error: BaseException) -> bool:
    """Say whether the repository is not there for this token; gated ones are there."""
    return any(isinstance(c, RepositoryNotFoundError) and not isinstance(c, GatedRepoError) for c in causes(error))


def hub_words(error: BaseException) -> str:
    """Return the Hub's own explanation, or the error in one line."""
    for cause in causes(error):
        if isinstance(cause, HfHubHTTPError) and cause.server_message:
            return " ".join(cause.server_message.split())[:300]
    return one_line(error)[:300]


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn what the client raises at an answer that lacks fields, or is no JSON, into HubUnavailable.

    For a call of the client alone: the same exceptions out of our own code are mistakes of ours.
    """
    try:
        yield
    except HfHubHTTPError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        message = f"{what}: the Hub's answer is not what the client of Hugging Face expects ({one_line(error)[:200]})"
        raise RunFailure(Reason.HUB_UNAVAILABLE, f"{message}; look at what the Hub's logs say about it") from error


@contextmanager
def told_as_failures(what: str) -> Iterator[None]:
    """Turn errors of the client inside the block into RunFailure; `what` says what was tried.

    Refused token: TokenRefused. No right: WriteForbidden. No answer, or try again: HubUnavailable. Other answers are
    left to the caller, who knows what they mean.
    """
    try:
        yield
    except RunFailure:
        raise
    except Exception as error:
        if (failure := as_failure(error, what)) is None:
            raise
        raise failure from error


def as_failure(error: BaseException, what: str) -> RunFailure | None:
    """Return what an error of the client means wherever it happens, None if that depends on the place."""
    if is_unreachable(error):
        message = f"{what}: the Hub did not answer as it should ({hub_words(error)}); wait until it answers"
        return RunFailure(Reason.HUB_UNAVAILABLE, message)
    if is_missing_repository(error) or any(isinstance(cause, GatedRepoError) for cause in causes(error)):
        return None
    status = status_of(error)
    if status == HTTPStatus.UNAUTHORIZED:
        message = f"{what}: the Hub does not accept the token ({hub_words(error)}); put a valid token into the Secret"
        return RunFailure(Reason.TOKEN_REFUSED, message)
    if status == HTTPStatus.FORBIDDEN:
        message = f"{what}: the Hub forbids it ({hub_words(error)}); use a token with the right to do so"
        return RunFailure(Reason.WRITE_FORBIDDEN, message)
    return None
