"""What each lever of the trainer's speed brings on its own: the same work without and with it, in turn."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import print_table, write_json
from benchmarks.training.levers.deduplication import measure_deduplication
from benchmarks.training.levers.evaluation import measure_baseline, measure_dimensions, measure_sharding
from benchmarks.training.levers.finding import Finding
from benchmarks.training.levers.graphs import measure_graphs
from benchmarks.training.levers.mini_batch import measure_loss_stage, measure_mini_batch
from benchmarks.training.levers.pairs import measure_candidates, measure_pairs
from benchmarks.training.levers.resizing import measure_resizing
from benchmarks.training.levers.setting import Setting, build_setting
from benchmarks.training.levers.workers import measure_workers

LEVERS: dict[str, Callable[[Setting], list[Finding]]] = {
    "dimensions": measure_dimensions,
    "sharding": measure_sharding,
    "baseline": measure_baseline,
    "mini-batch": measure_mini_batch,
    "graphs": measure_graphs,
    "loss-stage": measure_loss_stage,
    "deduplication": measure_deduplication,
    "resizing": measure_resizing,
    "pairs": measure_pairs,
    "candidates": measure_candidates,
    "workers": measure_workers,
}


def run_levers(folder: Path, *, names: list[str]) -> int:
    """Measure the named levers, or all; print and write the findings."""
    if unknown := sorted(set(names) - set(LEVERS)):
        print(f"levers: there is no {', '.join(unknown)}; take of {', '.join(LEVERS)}")
        return 2
    setting = build_setting(folder)
    findings: list[Finding] = []
    for name in names or LEVERS:
        print(f"measuring {name}", flush=True)
        findings += LEVERS[name](setting)
    print_table(
        "levers",
        ["lever", "unit", "off", "on", "off / on", "what else"],
        [finding.as_row() for finding in findings],
    )
    write_json("training-levers", [finding.as_dict() for finding in findings])
    return 0
