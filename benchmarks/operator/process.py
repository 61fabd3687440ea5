"""The operator as a process of this machine, with the environment that the chart gives it."""

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.operator.control_plane import OPERATOR, ControlPlane

PORT = 28080
READY_SECONDS = 300
PROBE_SECONDS = 0.01
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Operator:
    """Started and stopped as often as is asked for."""

    plane: ControlPlane
    python: str
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.plane.folder / "operator.log"

    def start(self, *, wait: bool = True) -> float:
        """Start it; return the seconds until it was ready, or 0 if nobody waits for that."""
        (deployment,) = [one for one in self.plane.chart if one["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        given = {entry["name"]: str(entry["value"]) for entry in container["env"] if "value" in entry}
        own = {"KUBECONFIG": str(self.plane.kubeconfig(OPERATOR)), "HTTP_PORT": str(PORT), "POD_NAME": "benchmark"}
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "-m", "finetune_operator"], stdout=log, stderr=log, env=os.environ | given | own, cwd="/"
            )
        while wait and not self._is_ready():
            if self.process.poll() is not None or time.monotonic() - began > READY_SECONDS:
                raise SystemExit(f"the operator did not start; the end of its log:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)
        return time.monotonic() - began if wait else 0.0

    def stop(self) -> float:
        """Ask it to end; return the seconds that took."""
        return self._end(signal.SIGTERM)

    def kill(self) -> float:
        """End it as a power cut would."""
        return self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> float:
        if self.process is None:
            return 0.0
        began = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(timeout=60)
        self.process = None
        return time.monotonic() - began

    def requests(self, *verbs: str) -> float:
        """Return how many requests it has sent, of these verbs or of all."""
        found = re.findall(
            r'^finetune_operator_api_requests_total\{.*verb="(\w+)"\} (\S+)', self._metrics(), re.MULTILINE
        )
        return sum(float(count) for verb, count in found if not verbs or verb in verbs)

    def progress_writes(self) -> float:
        """Return how many statuses it has written with new progress, which its budget is for."""
        return sum(
            map(float, re.findall(r"^finetune_operator_progress_writes_total (\S+)", self._metrics(), re.MULTILINE))
        )

    def pids(self) -> dict[str, int]:
        """Return its process and those of its control plane, by name."""
        own = {} if self.process is None else {"operator": self.process.pid}
        return own | self.plane.pids

    def scrape(self) -> tuple[float, float]:
        """Return the seconds that a scrape takes, and for how long the operator answers nobody else meanwhile."""
        silence = 0.0
        with ThreadPoolExecutor() as pool:
            began = time.monotonic()
            scrape = pool.submit(self._metrics)
            while not scrape.done():
                asked = time.monotonic()
                self._is_ready()
                silence = max(silence, time.monotonic() - asked)
                time.sleep(PROBE_SECONDS)
            scrape.result()
        return time.monotonic() - began, silence

    def memory(self) -> tuple[float, float]:
        """Return its peak and what it has now, in MB."""
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        peak, now = (re.findall(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[0] for field in ("VmHWM", "VmRSS"))
        return int(peak) / 1024, int(now) / 1024

    def _metrics(self) -> str:
        with urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5):
                return True
        except (URLError, OSError):
            return False
