"""Which image each address gave, so that another try of the same job asks for none of them again."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


class FetchedImages:
    """A file of lines, hash of an address and hash of what it gave: addresses may hold secrets. For one thread.

    A line may be lost or torn in a kill, and then is none.
    """

    def __init__(self, path: Path) -> None:
        self._known = dict(_read(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="ascii", buffering=1)

    def get(self, address: str) -> str | None:
        """Return the SHA-256 of what `address` gave, None if it was not fetched."""
        return self._known.get(_hash(address))

    def add(self, address: str, digest: str) -> None:
        """Remember what `address` gave."""
        self._file.write(f"\n{json.dumps([_hash(address), digest])}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="ascii").splitlines() if path.exists() else ():
        with suppress(ValueError, TypeError):
            address, digest = json.loads(line)
            yield address, digest


def _hash(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()
