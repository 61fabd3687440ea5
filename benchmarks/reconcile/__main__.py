"""What the operator costs on a real cluster.

`python -m benchmarks.reconcile [JOBS]` creates jobs one after another: latency, writes, memory.
`python -m benchmarks.reconcile memory [FINISHED [LIVING]]` starts it among that many jobs: peak memory.
"""

import sys

from benchmarks.reconcile import latency, memory
from tests.stack.target import find_target

match sys.argv[1:]:
    case ["memory", *counts]:
        memory.run(find_target(), *[int(count) for count in counts])
    case counts:
        latency.run(find_target(), int(counts[0]) if counts else 100)
