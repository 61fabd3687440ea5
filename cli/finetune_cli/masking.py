"""What is kept out of files that people give away: whatever looks like a secret, or is called like one."""

import re
from typing import Any

#: Tokens of the Hub and of ServiceAccounts, access keys of AWS, users and passwords of URLs, what follows such words.
_SECRET = re.compile(
    r"hf_[A-Za-z0-9]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|(?<=://)[^/\s]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=signature=)|(?<=token=)|(?<=secret=)|(?<=password=)|(?<=_key=))[^&\s\"']+"
)
_SECRET_NAME = re.compile(
    r"token(?!izer)|secret|passw|pwd|credential|key|auth|cookie|dsn|connection_?str", re.IGNORECASE
)
#: Of no use, and with all that an object ever was applied with.
_LEFT_OUT = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")
STARS = "***"


def mask(text: str) -> str:
    """Return the text without what looks like a secret."""
    return _SECRET.sub(STARS, text)


def without_secrets(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a copy without what looks like a secret, and without values of variables that are called like one."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_secret = "value" in value and _SECRET_NAME.search(str(value.get("name", "")))
    kept = {key: without_secrets(item) for key, item in value.items() if key not in _LEFT_OUT}
    return {**kept, "value": STARS} if is_secret else kept
