"""Runs the sides of a recipe in turn, and sets their figures side by side."""

import importlib.metadata
import os
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.figures import print_table, write_json
from benchmarks.training.recipe import EXPERT, Recipe
from benchmarks.training.sides import PHASES, PREPARE, Measured, discard, run_reference, run_trainer

NDCG_TOLERANCE = 0.005
MEGA = 1e6
PACKAGES = ("torch", "transformers", "sentence-transformers", "accelerate", "datasets")


class Case(BaseModel):
    """All sides on so many processes, one after the other in each round."""

    model_config = ConfigDict(frozen=True)

    processes: int
    reference: list[Measured]
    expert: list[Measured] = []
    """The same script, written by an expert; empty where that is no side."""
    trainer: list[Measured]
    goal: float = 1.0
    """How many times faster in total the trainer is meant to be."""
    expert_goal: float = 1.0
    """The same against the expert's script."""

    def ratio(self, figure: str, *, expert: bool = False) -> float:
        """Return the median over the rounds of reference / trainer, or of the expert's script / trainer."""
        pairs = zip(self.expert if expert else self.reference, self.trainer, strict=True)
        return float(median(getattr(theirs, figure) / getattr(ours, figure) for theirs, ours in pairs))

    @property
    def speed(self) -> dict[str, tuple[float, float]]:
        """Return how many times faster in total the trainer is, and is meant to be, by what it is compared with."""
        found = {"the published script": (self.ratio("total_seconds"), self.goal)}
        if self.expert:
            found["an expert's script"] = (self.ratio("total_seconds", expert=True), self.expert_goal)
        return found

    @property
    def shortfalls(self) -> list[str]:
        """Return what is not reached; empty if all is."""
        found = [
            f"{faster:.2f} times faster in total than {script}, {goal:g} is the goal"
            for script, (faster, goal) in self.speed.items()
            if faster < goal
        ]
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
    expert = recipe.model_copy(update={"writing": EXPERT})
    sides: dict[str, Callable[..., Measured]] = {
        "reference": partial(run_reference, recipe),
        **({"expert": partial(run_reference, expert)} if recipe.expert_goals else {}),
        "trainer": partial(run_trainer, recipe),
    }
    found: dict[int, dict[str, list[Measured]]] = {number: {side: [] for side in sides} for number in processes}
    load_before = os.getloadavg()[0]
    for turn in range(rounds):
        for number, measured in found.items():
            place = folder / f"round-{turn}-{number}"
            for side, run in sides.items():
                print(f"round {turn + 1} of {rounds}, {number} process(es): {side}", flush=True)
                measured[side].append(run(place / side, processes=number))
            discard(place)
    cases = [
        Case(
            processes=number,
            goal=recipe.goals.get(number, 1.0),
            expert_goal=recipe.expert_goals.get(number, 1.0),
            **measured,
        )
        for number, measured in found.items()
    ]
    for case in cases:
        print_case(case)
    write_json(name, describe(recipe, cases, load_before=load_before))
    return not any(case.shortfalls for case in cases)


def print_case(case: Case) -> None:
    """Print one case: medians of the rounds."""
    sides = [side for side in (case.reference, case.expert, case.trainer) if side]
    rows = [_row(phase, [[run.phases[phase] for run in side] for side in sides], "{:.1f}") for phase in PHASES]
    for figure, title in (
        ("training_seconds", f"total without {PREPARE}"),
        ("total_seconds", "total"),
        ("cpu_seconds", "computed by all processes"),
    ):
        rows.append(_row(title, [[getattr(run, figure) for run in side] for side in sides], "{:.1f}"))
    on_devices = [("device_peak_bytes", "of their accelerators, MB")] if case.trainer[-1].device_peak_bytes else []
    for figure, title in (
        ("ranks_peak_bytes", "peak memory of the ranks, MB"),
        *on_devices,
        ("tree_peak_bytes", "of all processes, MB"),
    ):
        rows.append(_row(title, [[getattr(run, figure) / MEGA for run in side] for side in sides], "{:.0f}"))
    for title, number_of in (
        ("NDCG@10 before", lambda one: one.baseline),
        ("NDCG@10 after the last step", lambda one: one.final),
        ("loss of the last step", lambda one: _last(one.losses)),
    ):
        *theirs, ours = (number_of(side[-1].outcome) for side in sides)
        rows.append([title, *(f"{one:.4f}" for one in (*theirs, ours)), *(f"{ours - one:+.4f}" for one in theirs)])
    names = ["reference", *(["expert"] if case.expert else []), "finetune_trainer"]
    title = f"{case.processes} process(es), {len(case.reference)} round(s)"
    header = ["seconds, where nothing else is said", *names, *(f"{name} / trainer" for name in names[:-1])]
    print_table(title, header, rows)
    for script, (faster, goal) in case.speed.items():
        print(f"{faster:.2f} times faster in total than {script}; the goal is {goal:g}")
    for shortfall in case.shortfalls:
        print(f"not reached: {shortfall}")


def _row(title: str, sides: list[list[float]], form: str) -> list[str]:
    """Return a line: the median of each side, the trainer's last, and how many times its own the others' are."""
    *theirs, ours = (median(values) for values in sides)
    ratios = [f"{one / ours:.2f}" if one and ours else "" for one in theirs]
    return [title, *(form.format(one) for one in (*theirs, ours)), *ratios]


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
                "times_faster": {script: faster for script, (faster, _) in case.speed.items()},
                "times_faster_without_prepare": case.ratio("training_seconds"),
                "times_less_computing": case.ratio("cpu_seconds"),
                "times_less_memory": case.ratio("ranks_peak_bytes"),
                "shortfalls": case.shortfalls,
                "reference": [run.model_dump() for run in case.reference],
                "expert": [run.model_dump() for run in case.expert],
                "finetune_trainer": [run.model_dump() for run in case.trainer],
            }
            for case in cases
        ],
    }
