"""Runs the sides in order of importance as long as the time lasts, and writes down what is known after each."""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from benchmarks.figures import write_json
from benchmarks.training.gpu.inputs import Size, build_inputs
from benchmarks.training.gpu.jobs import Jobs
from benchmarks.training.gpu.side import SCRIPT, Known
from benchmarks.training.gpu.tell import tell
from benchmarks.training.gpu.ways import AUTOCAST, MAIN, OTHERS, Way
from benchmarks.training.launch import LOG_TAIL, launch
from benchmarks.training.outcome import RankRecord
from benchmarks.training.rank import ENV_STOP_AFTER
from benchmarks.training.sides import ENVIRONMENT, caches
from benchmarks.training.stopwatch import BASELINE
from finetune_api import keys
from finetune_api.contract import ExitCode, RunResult

#: From the start of this process; what is left of ten minutes is for starting the machine.
BUDGET_SECONDS = 480.0
#: The script's steps after its first one: mini-batches of one row should take half a minute each on an H200.
SCRIPT_SECONDS = 75.0
#: What a way of the trainer takes with loading: none is begun that cannot be ended.
WAY_SECONDS = 40.0


def run_gpu(folder: Path, size: Size, *, budget_seconds: float = BUDGET_SECONDS) -> int:
    """Measure all sides; print figures and goals, return 0 if all goals are reached."""
    benchmark = Benchmark(folder, size, end=psutil.Process().create_time() + budget_seconds)
    benchmark.measure("preparing", benchmark.prepare)
    for way in (MAIN, AUTOCAST):  # shares take PyTorch's newest, which not every machine has
        benchmark.measure(way.name, partial(benchmark.train, way))
        if way.name in benchmark.known.sides:
            break
    benchmark.measure(SCRIPT, benchmark.script)
    benchmark.measure("other ways", benchmark.ways)
    return tell(benchmark.known, json.loads((folder / "model" / "config.json").read_bytes()))


class Benchmark:
    """The sides on one set of inputs."""

    def __init__(self, folder: Path, size: Size, *, end: float) -> None:
        """Make the inputs.

        Args:
            folder: takes everything.
            size: of model and data.
            end: when it is to be over, as `time.time()` tells it.

        """
        self.folder = folder
        self.size = size
        self.end = end
        self.known = Known(device=torch.cuda.get_device_name() if size.accelerator else "cpu")
        begun = time.time()
        self.recipe = build_inputs(folder, size)
        self.known.seconds["making the inputs"] = time.time() - begun
        threads = {"OMP_NUM_THREADS": str(os.cpu_count())} if size.accelerator else {}
        self.environment = {**ENVIRONMENT, **threads}
        self.jobs = Jobs(self.recipe, folder, threads)
        self.stopped: Way | None = None
        """A training that can be resumed."""

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.end - time.time()

    def measure(self, name: str, side: Callable[[], None]) -> None:
        """Run one side and write down what is known by then; one that fails is told, and ends no other."""
        print(f"{name}; {self.left:.0f} s are left", flush=True)
        try:
            side()
        except (Exception, SystemExit) as failure:  # noqa: BLE001 - a device is lent for minutes
            self.known.missing[name] = f"{type(failure).__name__}: {failure}".splitlines()[0]
            print(failure, flush=True)
        write_json("training-gpu", self.known.model_dump())

    def prepare(self) -> None:
        """Prepare the inputs that all of the trainer's ways share."""
        self.known.seconds["prepare"] = self.jobs.prepare(seconds=self.left).seconds

    def train(self, way: Way) -> None:
        """Evaluate, train for half of the steps, and save as a pod that is asked to end."""
        place = f"stopped-{way.name}"
        environment = self.jobs.begin(place, way.model_copy(update={"evaluates": True}))
        half = self.size.num_steps // 2
        stop = {ENV_STOP_AFTER: str(half)}
        command = [sys.executable, "-m", "benchmarks.training.gang"]
        log = self.folder / place / "log.txt"
        launch(command, environment=environment | stop, log=log, exit_code=ExitCode.PREEMPTED, seconds=self.left)
        (record,) = RankRecord.read_all(self.folder / place)
        told = RunResult.model_validate_json(Path(environment[keys.ENV_TERMINATION_MESSAGE]).read_bytes())
        assert told.checkpoint is not None, "it was asked to save"
        self.known.add(way.name, record.steps, record.device_peak_bytes)
        pages = self.size.held_out * (1 + len(self.recipe.evaluation.negatives))
        self.known.seconds |= {
            f"evaluation of {pages} pages": record.seconds[BASELINE],
            "training stands still for a checkpoint": told.checkpoint.pause_seconds or 0.0,
            "until the checkpoint is on the volume": told.checkpoint.save_seconds or 0.0,
        }
        second = {keys.ENV_ATTEMPT: "2"}
        rest = {"num_steps": self.size.num_steps - half, "environment": environment | second}
        self.stopped = way.model_copy(update=rest)

    def script(self) -> None:
        """Make steps of the published script."""
        place = self.folder / "script"
        place.mkdir()
        job = place / "recipe.json"
        job.write_text(self.recipe.model_dump_json())
        limits = [str(self.size.num_steps), str(SCRIPT_SECONDS)]
        command = [sys.executable, "-m", "benchmarks.training.gpu.script", str(job), str(place), *limits]
        launch(command, environment=self.environment | caches(place), log=place / "log.txt", seconds=self.left)
        (record,) = RankRecord.read_all(place)
        self.known.add(SCRIPT, record.steps, record.device_peak_bytes)

    def ways(self) -> None:
        """Resume the training, and make a few steps in each of the trainer's other ways."""
        ways = {self.folder / "resumed": self.stopped} if self.stopped else {}
        for number, way in enumerate(OTHERS):
            environment = self.jobs.begin(f"way-{number}", way)
            ways[self.folder / f"way-{number}"] = way.model_copy(update={"environment": environment})
        for place, way in ways.items():
            place.mkdir(exist_ok=True)
            (place / "way.json").write_text(way.model_dump_json())
        limits = [str(WAY_SECONDS), str(self.end - WAY_SECONDS)]
        command = [sys.executable, "-m", "benchmarks.training.gpu.ways", *limits, *map(str, ways)]
        log = self.folder / "ways.txt"
        try:
            launch(command, environment=self.environment, log=log, seconds=self.left)
        finally:
            for place, way in ways.items():
                self.read(way, place, log=log)

    def read(self, way: Way, place: Path, *, log: Path) -> None:
        """Take over what was measured of a way, or say why nothing was."""
        records = RankRecord.read_all(place)
        if not records:
            self.known.missing[way.name] = "there was no time left"
            return
        (record,) = records
        if way is self.stopped and record.steps:
            self.known.seconds["from starting a process that resumes to its first step"] = record.steps[0].seconds
        self.known.add(way.name, record.steps, record.device_peak_bytes)
        if way.name in self.known.missing:
            print(log.read_text()[-LOG_TAIL:], flush=True)
