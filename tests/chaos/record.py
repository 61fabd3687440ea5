"""What became of all jobs of a namespace, as the API server told it, from the beginning to the end."""

import json
import subprocess
import threading
import time
from collections import defaultdict
from types import TracebackType
from typing import Self

from tests.e2e.gang import LABEL_JOB, LABEL_ROLE
from tests.stack import jobs
from tests.stack.kubectl import Kubectl, Manifest

POLL_SECONDS = 2.0
#: By then no pod of an ended job may hold an accelerator any more.
FREE_SECONDS = 60.0
ENDED = ("Succeeded", "Failed")


class Recorder:
    """Keeps every status of every job, and which gangs lived at once."""

    def __init__(self, kube: Kubectl, namespace: str) -> None:
        self.namespace = namespace
        self.states: dict[str, list[Manifest]] = defaultdict(list)
        self.gangs_at_once: dict[str, int] = defaultdict(int)
        self._kube = kube
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._poll)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()

    def settle(self) -> None:
        """Wait until what must be over a minute after the last end is over."""
        time.sleep(FREE_SECONDS)

    def _watch(self) -> None:
        command = [self._kube.program, "get", jobs.KIND, "-n", self.namespace, "-o", "json", "--watch"]
        while not self._is_over.is_set():  # kubectl ends when its watch does
            with subprocess.Popen(
                [*command, "--output-watch-events"], stdout=subprocess.PIPE, text=True, env=self._kube.environment
            ) as process:
                for line in process.stdout or ():
                    found = json.loads(line)["object"]
                    self.states[found["metadata"]["name"]].append(found)
                    if self._is_over.is_set():
                        process.kill()

    def _poll(self) -> None:
        while not self._is_over.wait(POLL_SECONDS):
            living: dict[str, set[str]] = defaultdict(set)
            for pod in self._kube.find("pods", namespace=self.namespace, selector=f"{LABEL_ROLE}=train"):
                labels = pod["metadata"]["labels"]
                if pod["status"]["phase"] not in ENDED:
                    living[labels[LABEL_JOB]].add(labels["finetune.dev/attempt"])
            for name, attempts in living.items():
                self.gangs_at_once[name] = max(self.gangs_at_once[name], len(attempts))
