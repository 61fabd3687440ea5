"""What a tracker's own library raises, told in the project's words; and what every tracker's library is told."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from finetune_api.reasons import GUIDANCE, Reason
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure

#: Answers that another try may change, of those that blame the client.
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_WORDS = 400


@contextlib.contextmanager
def told_as_failures(field: str, address: str, status_of: Callable[[Exception], int | None]) -> Iterator[None]:
    """Raise as RunFailure whatever a library makes of an answer, or of none.

    `status_of` returns the HTTP status of the answer behind an exception, None if there was none.
    """
    try:
        yield
    except RunFailure:
        raise
    except Exception as error:
        raise _refused_or_away(field, address, status_of(error), error) from error


def _refused_or_away(field: str, address: str, status: int | None, error: Exception) -> RunFailure:
    words = one_line(error)[:_WORDS]
    if status == HTTPStatus.UNAUTHORIZED:
        return _failure(Reason.TOKEN_REFUSED, f"{field}: {address} does not take what the Secret has: {words}")
    is_refusal = status is not None and 400 <= status < 500 and status not in _PASSING  # noqa: PLR2004 - HTTP's range
    if is_refusal:
        return _failure(Reason.TRACKER_REFUSED, f"{field}: {address} refuses what it is told: {words}")
    return _failure(Reason.TRACKER_UNAVAILABLE, f"{field}: {address} does not answer as it should: {words}")


def missing_key(field: str, name: str | None, wanted: str) -> RunFailure:
    """Return the failure of a Secret that is not there, or lacks what it is named for."""
    because = f"there is no such Secret in the job's namespace, or it lacks {wanted}"
    return _failure(Reason.TOKEN_REFUSED, f"{field}.secretName: '{name}' is wrong because {because}")


def not_as_written(field: str, address: str, what: str) -> RunFailure:
    """Return the failure of a tracker that has taken everything, and shows something else."""
    text = f"{field}: {address} does not have what it was told ({what})"
    return _failure(Reason.TRACKER_UNAVAILABLE, text)


def _failure(reason: Reason, text: str) -> RunFailure:
    return RunFailure(reason, f"{text.rstrip('. ')}. {GUIDANCE[reason].next_step}")


def set_environment(secret: Mapping[str, str], names: tuple[str, ...], **settings: str) -> None:
    """Hand a library its keys and settings; what spec.podTemplate has set of the latter stands.

    Python's clients have their own variable for the authorities that the rest of the image takes from SSL_CERT_FILE.
    """
    os.environ.update({name: secret[name] for name in names if secret.get(name)})
    if (authorities := os.environ.get("SSL_CERT_FILE")) is not None:
        settings["REQUESTS_CA_BUNDLE"] = authorities
    for name, value in settings.items():
        os.environ.setdefault(name, value)
