"""What is kept out of files that people give away: whatever looks like a secret, or is called like one."""

import re
from typing import Any

#: Private keys, whole or cut; tokens of the Hub and of ServiceAccounts, access keys of AWS, users and passwords of
#: URLs, what follows such words.
_SECRET = re.compile(
    r"(?s:-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|\Z))"
    r"|hf_[A-Za-z0-9]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|(?<=://)[^/\s]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=signature=)|(?<=token=)|(?<=secret=)|(?<=password=)|(?<=_key=))[^&\s\"']+"
)
_WORDS = r"(?:token(?!izer)|secret|passw|pwd|credential|key|auth|cookie|dsn|connection_?str)"
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
#: An option that is called like a secret, and its value, which may be an argument of its own.
_OPTION = re.compile(rf"(?<![\w-])--?[\w-]*{_WORDS}[\w-]*", re.IGNORECASE)
_OPTION_AND_VALUE = re.compile(rf"({_OPTION.pattern}(?:=|[ \t]+)[\"']?)(?!-)[^\s\"']+", re.IGNORECASE)
#: Of no use, and with all that an object ever was applied with.
_LEFT_OUT = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")
STARS = "***"


def mask(text: str) -> str:
    """Return the text without what looks like a secret."""
    return _OPTION_AND_VALUE.sub(rf"\g<1>{STARS}", _SECRET.sub(STARS, text))


def without_secrets(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a copy without what looks like a secret, and without values of variables that are called like one."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [
            STARS if _is_value_of(before, item) else without_secrets(item)
            for before, item in zip([None, *value], value, strict=False)
        ]
    if not isinstance(value, dict):
        return value
    is_secret = "value" in value and _SECRET_NAME.search(str(value.get("name", "")))
    kept = {key: without_secrets(item) for key, item in value.items() if key not in _LEFT_OUT}
    return {**kept, "value": STARS} if is_secret else kept


def _is_value_of(option: Any, argument: Any) -> bool:  # noqa: ANN401 - JSON
    """Tell whether an argument is the value of the one before it, which is called like a secret."""
    both_texts = isinstance(option, str) and isinstance(argument, str)
    return both_texts and _OPTION.fullmatch(option) is not None and not argument.startswith("-")
