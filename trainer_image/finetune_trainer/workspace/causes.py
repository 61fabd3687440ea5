"""What an exception came from."""

import errno
from collections.abc import Callable, Iterator

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
#: A volume, or the server behind it, fails or is gone, or has no file locks, as NFS without its lock daemon.
STORAGE_FAULT_ERRNOS = (errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ENOLCK)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and all that it may have come from, outermost first: libraries hide what tells most, too."""
    return _chain(error, lambda one: one.__cause__ or one.__context__)


def admitted_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what a traceback shows that it came from, outermost first."""
    return _chain(error, lambda one: one.__cause__ or (None if one.__suppress_context__ else one.__context__))


def stated_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what it says that it came from (`raise ... from ...`), outermost first."""
    return _chain(error, lambda one: one.__cause__)


def _chain(error: BaseException, cause_of: Callable[[BaseException], BaseException | None]) -> Iterator[BaseException]:
    """Yield each once: an error may have come from itself (`raise error from error`), as tracebacks know, too."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = cause_of(current)


def is_storage_full(error: BaseException) -> bool:
    """Say whether a volume or a quota is used up."""
    return _has_errno(error, _NO_SPACE)


def is_storage_broken(error: BaseException) -> bool:
    """Say whether a volume fails to read or write."""
    return _has_errno(error, STORAGE_FAULT_ERRNOS)


def _has_errno(error: BaseException, numbers: tuple[int, ...]) -> bool:
    return any(isinstance(cause, OSError) and cause.errno in numbers for cause in causes(error))


def one_line(error: BaseException) -> str:
    """Return type and message without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())
