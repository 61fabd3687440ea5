"""RFC 3339 times as Kubernetes writes them, to the second and in UTC."""

from datetime import UTC, datetime


def parse_time(text: str | None) -> datetime | None:
    """Return `2026-11-23T09:00:00Z` as an aware datetime; None for nothing."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def format_time(time: datetime) -> str:
    """Return `time` as Kubernetes writes it in metadata and conditions."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(time: datetime | None, now: datetime) -> float:
    """Return the seconds from `time` to `now`; 0 when there is no time."""
    return 0.0 if time is None else (now - time).total_seconds()


def soonest(*seconds: float | None) -> float | None:
    """Return the least of the times that there are, at least a moment from now; None if there are none."""
    known = [value for value in seconds if value is not None]
    return max(0.5, min(known)) if known else None
