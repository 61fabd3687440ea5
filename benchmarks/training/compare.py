"""Runs both sides of a recipe in turn, and sets their figures side by side."""

import importlib.metadata
import os
import platform
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.figures import print_table, write_json
from benchmarks.training.recipe import Recipe
from benchmarks.training.sides import PHASES, PREPARE, Measured, discard, run_reference, run_trainer

NDCG_TOLERANCE = 0.005
MEGA = 1e6
PACKAGES = ("torch", "transformers", "sentence-transformers", "accelerate", "datasets")


class Case(BaseModel):
    """Both sides on so many processes, one after the other in each round."""

    model_config = ConfigDict(frozen=True)

    processes: int
    reference: list[Measured]
    trainer: list[Measured]
    goal: float = 1.0
    """How many times faster in total the trainer is meant to be."""

    def ratio(self, figure: str) -> float:
        """Return the median over the rounds of reference / trainer."""
        pairs = zip(self.reference, self.trainer, strict=True)
        return float(median(getattr(theirs, figure) / getattr(ours, figure) for theirs, ours in pairs))

    @property
    def shortfalls(self) -> list[str]:
        """Return what is not reached; empty if all is."""
        found = []
        if (faster := self.ratio("total_seconds")) < self.goal:
            found.append(f"{faster:.2f} times faster in total, {self.goal:g} is the goal")
        for whose, figure in (("ranks", "ranks_peak_bytes"), ("all processes", "tree_peak_bytes")):
            if (memory := self.ratio(figure)) < 1:
                found.append(f"{whose} take {1 / memory:.2f} times the memory")
        if (lost := self.ndcg_lost) > NDCG_TOLERANCE:
            found.append(f"final NDCG@10 is {lost:.4f} lower, {NDCG_TOLERANCE} is allowed")
        return found

    @property
    def ndcg_lost(self) -> float:
        """Return how much lower the trainer's final NDCG@10 is in its worst round; negative if it is always higher."""
        pairs = zip(self.reference, self.trainer, strict=True)
        return max(theirs.outcome.final - ours.outcome.final for theirs, ours in pairs)


def compare(name: str, recipe: Recipe, folder: Path, *, processes: list[int], rounds: int) -> bool:
    """Run every case so many rounds, print and write the figures; return whether all goals are reached."""
    found: dict[int, tuple[list[Measured], list[Measured]]] = {number: ([], []) for number in processes}
    load_before = os.getloadavg()[0]
    for turn in range(rounds):
        for number, (reference, trainer) in found.items():
            place = folder / f"round-{turn}-{number}"
            print(f"round {turn + 1} of {rounds}, {number} process(es): reference", flush=True)
            reference.append(run_reference(recipe, place / "reference", processes=number))
            print(f"round {turn + 1} of {rounds}, {number} process(es): finetune_trainer", flush=True)
            trainer.append(run_trainer(recipe, place / "trainer", processes=number))
            discard(place)
    cases = [
        Case(processes=number, reference=reference, trainer=trainer, goal=recipe.goals.get(number, 1.0))
        for number, (reference, trainer) in found.items()
    ]
    for case in cases:
        print_case(case)
    write_json(name, describe(recipe, cases, load_before=load_before))
    return not any(case.shortfalls for case in cases)


def print_case(case: Case) -> None:
    """Print one case: medians of the rounds."""
    rows = [_seconds(case, phase, [run.phases[phase] for run in case.reference + case.trainer]) for phase in PHASES]
    for figure, title in (
        ("training_seconds", f"total without {PREPARE}"),
        ("total_seconds", "total"),
        ("cpu_seconds", "computed by all processes"),
    ):
        rows.append(_seconds(case, title, [getattr(run, figure) for run in case.reference + case.trainer]))
    on_devices = [("device_peak_bytes", "of their accelerators, MB")] if case.trainer[-1].device_peak_bytes else []
    for figure, title in (
        ("ranks_peak_bytes", "peak memory of the ranks, MB"),
        *on_devices,
        ("tree_peak_bytes", "of all processes, MB"),
    ):
        rows.append(_row(case, title, [getattr(run, figure) / MEGA for run in case.reference + case.trainer], "{:.0f}"))
    reference, trainer = case.reference[-1].outcome, case.trainer[-1].outcome
    rows += [
        [title, f"{theirs:.4f}", f"{ours:.4f}", f"{ours - theirs:+.4f}"]
        for title, theirs, ours in (
            ("NDCG@10 before", reference.baseline, trainer.baseline),
            ("NDCG@10 after the last step", reference.final, trainer.final),
            ("loss of the last step", _last(reference.losses), _last(trainer.losses)),
        )
    ]
    title = f"{case.processes} process(es), {len(case.reference)} round(s)"
    print_table(title, ["seconds, where nothing else is said", "reference", "finetune_trainer", "ratio"], rows)
    for shortfall in case.shortfalls:
        print(f"not reached: {shortfall}")


def _seconds(case: Case, title: str, values: list[float]) -> list[str]:
    return _row(case, title, values, "{:.1f}")


def _row(case: Case, title: str, values: list[float], form: str) -> list[str]:
    rounds = len(case.reference)
    theirs, ours = median(values[:rounds]), median(values[rounds:])
    ratio = f"{theirs / ours:.2f}" if theirs and ours else ""
    return [title, form.format(theirs), form.format(ours), ratio]


def _last(losses: dict[int, float]) -> float:
    return losses[max(losses)]


def describe(recipe: Recipe, cases: list[Case], *, load_before: float) -> dict[str, Any]:
    """Return everything that was measured, and where."""
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "load_before": load_before,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
        "recipe": recipe.model_dump(mode="json", exclude={"model", "dataset"}),
        "cases": [
            {
                "processes": case.processes,
                "times_faster": case.ratio("total_seconds"),
                "times_faster_without_prepare": case.ratio("training_seconds"),
                "times_less_computing": case.ratio("cpu_seconds"),
                "times_less_memory": case.ratio("ranks_peak_bytes"),
                "shortfalls": case.shortfalls,
                "reference": [run.model_dump() for run in case.reference],
                "finetune_trainer": [run.model_dump() for run in case.trainer],
            }
            for case in cases
        ],
    }
