"""Logs of a container: one JSON object per line, with every token cut out before it is written."""

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

Redact = Callable[[str], str]

#: User access tokens of the Hub, whoever they belong to.
_HUB_TOKEN = re.compile(r"hf_[A-Za-z0-9]{24,}")
_STARS = "hf_***"
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redaction(secrets: Iterable[str | None]) -> Redact:
    """Return a function that replaces each of `secrets`, and whatever looks like a Hub token, in a text."""
    known = [secret for secret in secrets if secret]

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, _STARS)
        return _HUB_TOKEN.sub(_STARS, text)

    return redact


class JsonLines(logging.Formatter):
    """Constant event text plus the fields given as `extra`; a traceback goes into one string."""

    def __init__(self, role: str, redact: Redact) -> None:
        super().__init__()
        self._role = role
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self._role,
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN_FIELDS},
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return self._redact(json.dumps(entry, ensure_ascii=False, default=str))


def configure(role: str, redact: Redact) -> None:
    """Send the process's logs and warnings to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role, redact))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for chatty in ("httpx", "httpx2", "httpcore", "urllib3", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
