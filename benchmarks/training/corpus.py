"""What an evaluation of many documents takes: peak memory of each process, and the time of scoring.

Embeddings are made up, so that only what comes after a model is measured: what is kept, sent and searched. The same
program runs the trainer of another checkout, to compare with.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import print_table, write_json
from benchmarks.training.sides import ENVIRONMENT
from finetune_trainer.recipe.capacity.evaluation import embedding_bytes, search_bytes
from finetune_trainer.recipe.capacity.need import gigabytes

RANK = "benchmarks.training.corpus_rank"
#: Of a million pages: numbers of an embedding of Qwen3-VL-Embedding-2B and 8B, by processes.
MILLION, WIDTHS, PROCESSES = 1_000_000, (2048, 4096), (8, 32)


def run_corpus(documents: Sequence[int], *, processes: Sequence[int], before: Path | None) -> int:
    """Measure each number of documents on each number of processes, here and in the checkout `before`; print it all."""
    rows, found = [], []
    for number in documents:
        for world_size in processes:
            for side, checkout in (("before", before), ("now", None)):
                if side == "before" and checkout is None:
                    continue
                ranks = run_gang(world_size, RANK, str(number), checkout=checkout)
                found += [{"side": side, "documents": number, "processes": world_size, "rank": one} for one in ranks]
                rows.append([f"{number:,}", str(world_size), side, *_cells(ranks)])
                print(*rows[-1], flush=True)
    head = [
        "documents",
        "processes",
        "",
        "embeddings, MB",
        "a rank's memory for them at most, MB",
        "times",
        "search, CPU s of a rank",
    ]
    print_table("evaluation of many documents", [*head, "NDCG@10"], rows)
    print_table("a million documents, by arithmetic", ["numbers each", "processes", "a rank's memory"], by_arithmetic())
    write_json("training-corpus", found)
    return 0


def by_arithmetic() -> list[list[str]]:
    """Return what a rank holds of a million documents, its share and the search, at sizes that nobody has here."""
    sizes = [(width, {"width": width, "world_size": number}) for width in WIDTHS for number in PROCESSES]
    return [
        [
            str(width),
            str(given["world_size"]),
            f"{gigabytes(embedding_bytes(MILLION, **given))} + {gigabytes(search_bytes(MILLION, **given))}",
        ]
        for width, given in sizes
    ]


def _cells(ranks: Sequence[dict[str, float]]) -> list[str]:
    corpus, taken = ranks[0]["corpus_bytes"], max(one["taken_bytes"] for one in ranks)
    seconds = max(one["search_seconds"] for one in ranks)
    return [
        f"{corpus / 1e6:.0f}",
        f"{taken / 1e6:.0f}",
        f"{taken / corpus:.2f}",
        f"{seconds:.1f}",
        f"{ranks[0]['ndcg']:.6f}",
    ]


def run_gang(world_size: int, program: str, *arguments: str, checkout: Path | None = None) -> list[dict[str, float]]:
    """Run so many processes of a rank's program; return what each has measured."""
    environment = {**os.environ, **ENVIRONMENT, "WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment["MASTER_PORT"] = str(probe.getsockname()[1])
    if checkout is not None:
        environment["PYTHONPATH"] = os.pathsep.join(str(checkout / part) for part in ("trainer_image", "crds"))
    gang = [
        subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
        )
        for rank in range(world_size)
    ]
    answers = [process.communicate()[0] for process in gang]
    if any(process.returncode for process in gang):
        raise SystemExit(f"a rank of {world_size} failed: {program} {' '.join(arguments)}")
    return [json.loads(answer) for answer in answers]
