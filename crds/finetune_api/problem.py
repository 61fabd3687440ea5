"""One thing that is wrong with a manifest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do about it."""

    path: str
    value: object
    because: str
    fix: str

    def __str__(self) -> str:
        """Return `path: value is wrong because ...; fix`."""
        return f"{self.path}: {self.value!r} is wrong because {self.because}; {self.fix}"
