"""What a checkpoint costs: bytes of each rank, seconds that training stands still, seconds until it is on the volume.

Weights and what Adam remembers are made up and saved as training saves them. What is measured here is carried over to a
model of 2B parameters on shared storage by arithmetic, which is printed beside it.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import print_table, write_json
from benchmarks.training.corpus import run_gang

RANK = "benchmarks.training.checkpoint_rank"
#: 2B parameters in float32, and two numbers for each.
LARGE_BYTES = 26e9
LARGE_GANGS = (1, 8, 32)
#: Of storage that many nodes share, bytes a second.
STORAGE = (0.5e9, 1e9)


def run_checkpoints(folder: Path, *, megabytes: int, processes: Sequence[int]) -> int:
    """Measure a checkpoint of so many megabytes on each number of processes; print that, and what follows from it."""
    found = []
    for world_size in processes:
        workspace = folder / str(world_size)
        workspace.mkdir()
        ranks = run_gang(world_size, RANK, str(workspace), str(megabytes))
        found.append({name: max(one[name] for one in ranks) for name in ranks[0]} | {"ranks": world_size})
    print_table(
        f"a checkpoint of {megabytes} MB here",
        ["ranks", "bytes of a rank at most, MB", "training stands still, s", "until it is on the volume, s"],
        [
            [
                str(one["ranks"]),
                f"{one['part_bytes'] / 1e6:.1f}",
                f"{one['pause_seconds']:.3f}",
                f"{one['save_seconds']:.3f}",
            ]
            for one in found
        ],
    )
    copied = min(one["part_bytes"] / one["pause_seconds"] for one in found)
    print_table(
        f"26 GB, copied at {copied / 1e9:.1f} GB/s by each rank, as here at the least",
        [
            "ranks",
            "bytes of a rank, GB",
            "training stands still, s",
            *(f"written at {one / 1e9} GB/s, s" for one in STORAGE),
        ],
        [
            [
                str(ranks),
                f"{LARGE_BYTES / ranks / 1e9:.1f}",
                f"{LARGE_BYTES / ranks / copied:.2f}",
                *(f"{LARGE_BYTES / one:.0f}" for one in STORAGE),
            ]
            for ranks in LARGE_GANGS
        ],
    )
    write_json("training-checkpoints", found)
    return 0
