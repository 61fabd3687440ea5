"""Prints what the sides came to, and what was to be reached."""

from collections.abc import Mapping
from typing import Any

from benchmarks.figures import print_table
from benchmarks.training.gpu.flops import peak_flops
from benchmarks.training.gpu.side import SCRIPT, WARM_UP, Known, goals, share
from benchmarks.training.gpu.ways import AUTOCAST, LIKE_SCRIPT, MAIN

ANSWERS = {True: "yes", False: "no", None: "cannot be said"}


def tell(known: Known, config: Mapping[str, Any]) -> int:
    """Print what is known of a model of this configuration; return 0 if all goals are reached."""
    peak = peak_flops(known.device)
    print_table(
        f"steps on {known.device}; the first {WARM_UP} of a process do not count",
        ["side", "steps", "s per step", "outside", "tokens/s", "MFU", "peak, GB"],
        [
            [
                name,
                str(len(side.steps)),
                f"{side.step_seconds:.2f}",
                share(side.outside),
                f"{side.tokens_per_second:.0f}",
                share(side.utilisation(config, peak)),
                f"{side.device_peak_bytes / 1e9:.1f}",
            ]
            for name, side in known.sides.items()
        ],
    )
    print_table("besides", ["what", "s"], [[what, f"{seconds:.2f}"] for what, seconds in known.seconds.items()])
    for name, why in known.missing.items():
        print(f"not all figures of {name}: {why}")
    trainer = known.sides.get(MAIN.name) or known.sides.get(AUTOCAST.name)
    script, like_script = known.sides.get(SCRIPT), known.sides.get(LIKE_SCRIPT.name)
    if trainer is None or script is None or like_script is None:
        print("whether the goals are reached is not known")
        return 1
    found = list(goals(trainer, script, like_script, utilisation=trainer.utilisation(config, peak)))
    print_table(
        "goals", ["goal", "measured", "reached"], [[goal, value, ANSWERS[is_met]] for goal, value, is_met in found]
    )
    return 0 if all(is_met for _, _, is_met in found) else 1
