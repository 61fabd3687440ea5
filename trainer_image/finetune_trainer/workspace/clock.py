"""The time as the contract writes it."""

from datetime import UTC, datetime


def now() -> str:
    """Return the current time in RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
