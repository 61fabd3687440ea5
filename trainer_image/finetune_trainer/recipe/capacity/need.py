"""What is needed of one resource, line by line, held against what a manifest asks for."""

import math
from dataclasses import dataclass

MIB, GIB = 2**20, 2**30
#: Of what there is; what is free besides is little.
TIGHT = 0.9


@dataclass(frozen=True)
class Line:
    """One part of a need."""

    what: str
    """With the calculation: `4 x 3.0 GB of libraries`."""
    num_bytes: float
    certain: bool = True
    """Whether it cannot be less; what is assumed, or the most that it can be, is not."""


@dataclass(frozen=True)
class Need:
    """The need of one resource."""

    resource: str
    whose: str
    """`each pod` and so on."""
    lines: tuple[Line, ...]
    field: str = ""
    """Of the manifest, that asks for it."""
    stated: str = ""
    """What the field says."""
    have_bytes: float | None = None
    """None if it is not known."""

    @property
    def num_bytes(self) -> float:
        """Return what is probably needed."""
        return sum(line.num_bytes for line in self.lines)

    @property
    def least_bytes(self) -> float:
        """Return what is needed for certain."""
        return sum(line.num_bytes for line in self.lines if line.certain)

    @property
    def verdict(self) -> str:
        """Return how need and offer compare, in a word or two."""
        if self.have_bytes is None:
            return "not stated"
        if self.least_bytes > self.have_bytes:
            return "does not fit"
        if self.num_bytes > self.have_bytes:
            return "may not fit"
        return "tight" if self.num_bytes > TIGHT * self.have_bytes else "fits"

    def refusal(self) -> str | None:
        """Return why the job cannot run, None if it may."""
        if self.have_bytes is None or self.least_bytes <= self.have_bytes:
            return None
        parts = " + ".join(line.what for line in self.lines if line.certain)
        return (
            f"{self.field}: {self.stated} ({gigabytes(self.have_bytes)}) is wrong because {self.whose} needs at least "
            f"{gigabytes(self.least_bytes)} of {self.resource}: {parts}; {self._advice()}"
        )

    def warning(self) -> str | None:
        """Return why the job may run out of it, None if it should not, or cannot run at all."""
        if self.have_bytes is None or self.verdict not in ("may not fit", "tight"):
            return None
        parts = " + ".join(line.what for line in self.lines)
        verb = "may not be enough" if self.verdict == "may not fit" else "is tight"
        return (
            f"{self.field}: {self.stated} ({gigabytes(self.have_bytes)}) {verb}, as {self.whose} needs about "
            f"{gigabytes(self.num_bytes)} of {self.resource}: {parts}; {self._advice()}"
        )

    def _advice(self) -> str:
        wanted = self.num_bytes / TIGHT
        return f"ask for {math.ceil(wanted / GIB)}Gi" if wanted > GIB else f"ask for {math.ceil(wanted / MIB)}Mi"


def gigabytes(num_bytes: float) -> str:
    """Return bytes as people read them, in two digits or three."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB")):
        if num_bytes >= factor:
            value = num_bytes / factor
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"  # noqa: PLR2004 - 10 has two digits
    return f"{num_bytes / 1e3:.0f} kB"
