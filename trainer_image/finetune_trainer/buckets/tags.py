"""ETags, which some services quote in one answer and not in another."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore import GetOptions


def bare(tag: str | None) -> str | None:
    """Return a tag as it is compared and kept."""
    return None if tag is None else tag.strip('"')


def still(tag: str | None) -> "GetOptions":
    """Return the condition that an object has a tag, which If-Match takes with quotes alone; none without a tag."""
    if tag is None:
        return {}
    return {"if_match": tag if '"' in tag else f'"{tag}"'}
