"""What became of all jobs of a namespace, as the API server told it, from the beginning to the end; kept in files."""

import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.gang import LABEL_JOB, LABEL_ROLE
from tests.stack import jobs
from tests.stack.install import SYSTEM_NAMESPACE
from tests.stack.kubectl import Kubectl, KubectlError, Manifest

POLL_SECONDS = 2.0
ENDED = ("Succeeded", "Failed")


class Ranks:
    """Which gangs lived when: how many of a job at once, and for how long after its end."""

    def __init__(self) -> None:
        self.gangs_at_once: dict[str, int] = defaultdict(int)
        self.seconds_after_end: dict[str, float] = defaultdict(float)
        self._ended_at: dict[str, float] = {}

    def note_end(self, name: str, *, is_finished: bool, now: float) -> None:
        """Take note that a job has ended, or runs again."""
        if is_finished:
            self._ended_at.setdefault(name, now)
        else:
            self._ended_at.pop(name, None)

    def note_pods(self, pods: list[Manifest], *, now: float) -> None:
        """Take note of the pods of all gangs that are there now."""
        living: dict[str, set[str]] = defaultdict(set)
        for pod in pods:
            labels = pod["metadata"]["labels"]
            if pod["status"]["phase"] not in ENDED:
                living[labels[LABEL_JOB]].add(labels["finetune.dev/attempt"])
        for name, attempts in living.items():
            self.gangs_at_once[name] = max(self.gangs_at_once[name], len(attempts))
            if name in self._ended_at:
                self.seconds_after_end[name] = now - self._ended_at[name]


class Recorder:
    """Keeps every status of every job and what operators log, each in a file of `folder`, and looks at the gangs."""

    def __init__(self, kube: Kubectl, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.states: dict[str, list[Manifest]] = defaultdict(list)
        self.events: dict[str, Manifest] = {}
        """By uid; the API server forgets them after an hour."""
        self.ranks = Ranks()
        self._kube = kube
        self._is_over = threading.Event()
        works = (self._watch_jobs, self._watch_events, self._poll, self._follow)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        self._commands = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        self._commands.close()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Raise RuntimeError if a part of this has died, so that the record is not whole."""
        if not all(thread.is_alive() for thread in self._threads):
            raise RuntimeError("the record is not whole: one of its threads has died; its words are above")

    def newest(self) -> dict[str, Manifest]:
        """Return each job as it was seen last."""
        return {name: states[-1] for name, states in [*self.states.items()]}

    def events_of(self, job: Manifest) -> list[str]:
        """Return the reasons of a job's Events, oldest first."""
        own = [one for one in self.events.values() if one.get("regarding", {}).get("uid") == job["metadata"]["uid"]]
        return [one["reason"] for one in sorted(own, key=lambda one: str(one["eventTime"]))]

    def _watch_jobs(self) -> None:
        for job in self._watch(jobs.KIND):
            self._note(job)

    def _watch_events(self) -> None:
        for event in self._watch("events.events.k8s.io"):
            self.events[event["metadata"]["uid"]] = event

    def _watch(self, kind: str) -> Iterator[Manifest]:
        """Yield every object, and anew whenever it has changed."""
        arguments = ["get", kind, "-n", self.namespace, "-o", "json", "--watch", "--output-watch-events"]
        for line in self._lines(*arguments):
            try:
                found = json.loads(line)
            except ValueError:
                continue  # kubectl was cut off in the middle
            # A list of nothing comes as an object without a name.
            if found["type"] in ("ADDED", "MODIFIED") and "uid" in found["object"]["metadata"]:
                yield found["object"]

    def _note(self, job: Manifest) -> None:
        name, states = job["metadata"]["name"], self.states[job["metadata"]["name"]]
        if states and states[-1]["metadata"]["resourceVersion"] == job["metadata"]["resourceVersion"]:
            return  # of a watch that began anew
        states.append(job)
        self.ranks.note_end(name, is_finished=jobs.is_finished(job), now=time.monotonic())
        with (self.folder / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps({"at": time.strftime("%H:%M:%S"), "job": job}) + "\n")

    def _poll(self) -> None:
        while not self._is_over.wait(POLL_SECONDS):
            try:
                pods = self._kube.find("pods", namespace=self.namespace, selector=f"{LABEL_ROLE}=train")
            except KubectlError:
                continue  # the API server is away
            self.ranks.note_pods(pods, now=time.monotonic())

    def _follow(self) -> None:
        selector = "app.kubernetes.io/name=finetune-operator"
        with (self.folder / "operator.log").open("a") as file:
            for line in self._lines("logs", "-n", SYSTEM_NAMESPACE, "-l", selector, "-f", "--prefix", "--tail=-1"):
                file.write(line)

    def _lines(self, *arguments: str) -> Iterator[str]:
        """Yield what a command of kubectl prints, which is run again whenever it ends, until all is over."""
        while not self._is_over.wait(1):
            with subprocess.Popen(
                [self._kube.program, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self._kube.environment,
            ) as process:
                self._commands.callback(process.kill)
                yield from process.stdout or ()


def wait_until(holds: Callable[[], bool], *, seconds: float, meanwhile: Callable[[], object]) -> bool:
    """Wait, and do something each second; False if it does not hold in time."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        meanwhile()
        time.sleep(1)
    return True
