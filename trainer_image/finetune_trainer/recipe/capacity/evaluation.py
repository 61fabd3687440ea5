"""What an evaluation holds in memory, beside training: what train computes with, and what prepare counts. Pure."""

import math

#: Queries that travel to all ranks together, and documents that a rank compares them with.
QUERIES_AT_ONCE, DOCUMENTS_AT_ONCE = 512, 8192
#: Processes that read and prepare batches for an accelerator: a page takes some 15 ms of a CPU (docs/benchmarks.md).
MAX_WORKERS = 4
#: Host memory of such a process that is its own: measured on a CPU, docs/benchmarks.md.
WORKER_BYTES = 0.2e9
_FLOAT32, _INT64 = 4, 8


def embedding_bytes(rows: int, *, width: int, world_size: int) -> float:
    """Return what one rank holds of so many embeddings."""
    return math.ceil(rows / world_size) * width * _FLOAT32


def search_bytes(rows: int, *, width: int, world_size: int) -> float:
    """Return what the search among them takes at most: documents cut to a dimension and normalised, scores and ties."""
    documents = min(math.ceil(rows / world_size), DOCUMENTS_AT_ONCE)
    return documents * (2 * width * _FLOAT32 + QUERIES_AT_ONCE * (_FLOAT32 + 2 * _INT64))
