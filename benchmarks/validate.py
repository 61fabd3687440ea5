"""How long people wait for `finetune validate`: `python -m benchmarks.validate [ROUNDS]`.

Checks every example, all in one call and one by one, in processes of their own, and prints the median seconds. Nothing
is asked of a network: the check only reads files.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import report

EXAMPLES = sorted(
    path for path in Path(__file__).parents[1].joinpath("examples").rglob("*.yaml") if path.parent.name != "gitops"
)


def main() -> None:
    """Run the benchmark and print its figures."""
    num_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    together = [seconds_of(EXAMPLES) for _ in range(num_rounds)]
    alone = [seconds_of([example]) for example in EXAMPLES for _ in range(num_rounds)]
    report(
        "validate",
        [
            ("manifests", len(EXAMPLES), "", ""),
            ("all in one call, median", statistics.median(together), "s", "under 2"),
            ("one manifest, median", statistics.median(alone), "s", "under 2"),
            ("one manifest, max", max(alone), "s", "under 2"),
        ],
    )


def seconds_of(manifests: Sequence[Path]) -> float:
    """Return how long one call takes; raises CalledProcessError if a manifest is not valid."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "finetune_cli", "validate", *map(str, manifests)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
