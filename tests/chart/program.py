"""Which Helm the tests of the chart use. `python -m tests.chart.program` builds it before pytest would hide that."""

import os
import shutil
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.progress import say

MISSING = "helm is missing: it is built from Go modules, and there is no Go; or name one in HELM"


def find() -> Path | None:
    """Return the Helm that HELM names, else ours, which is built if it is missing; None where that takes Go."""
    given = os.environ.get("HELM")
    if given:
        return Path(given)
    if shutil.which("go") is None and not binaries.helm().exists():
        return None
    return binaries.ensure_helm()


if __name__ == "__main__" and find() is None:
    say(f"{MISSING}; tests of the chart are skipped")
