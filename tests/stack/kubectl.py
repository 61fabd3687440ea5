"""kubectl as a few functions: what a user types, with JSON instead of tables."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

Manifest = dict[str, Any]


class KubectlError(Exception):
    """kubectl said no; the message is its own."""


@dataclass(frozen=True)
class Kubectl:
    """One kubectl program and the kubeconfig it uses."""

    program: str
    kubeconfig: str

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which kubectl and helm find this cluster."""
        return os.environ | {"KUBECONFIG": self.kubeconfig}

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Return what kubectl prints; raises KubectlError with its words, and with a diagnosis where it waited."""
        done = subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
        )
        if done.returncode != 0:
            details = f"\n{self.diagnosis()}" if arguments[0] in {"wait", "rollout"} else ""
            raise KubectlError(done.stderr.strip() + details)
        return done.stdout

    def diagnosis(self) -> str:
        """Return what to know of the cluster when something did not happen in time."""
        from tests.cluster import diagnosis, paths

        text = diagnosis.of_cluster(self.run)
        return f"{text}\n{diagnosis.of_machine()}" if self.kubeconfig == str(paths.KUBECONFIG) else text

    def apply(self, *manifests: Manifest) -> None:
        """Create or change objects as `kubectl apply` does."""
        self.run("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str, *, namespace: str) -> Manifest | None:
        """Return the object, or None if there is none."""
        text = self.run("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def find(self, kind: str, *, namespace: str, selector: str = "") -> list[Manifest]:
        """Return the objects that match the label selector."""
        text = self.run("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        items: list[Manifest] = json.loads(text)["items"]
        return items

    def delete(self, kind: str, name: str, *, namespace: str, wait: bool = True) -> None:
        """Delete the object; one that is gone already is fine."""
        self.run("delete", kind, name, "-n", namespace, "--ignore-not-found", f"--wait={str(wait).lower()}")

    def watch(self, kind: str, name: str, *, namespace: str, seconds: float) -> Iterator[Manifest]:
        """Yield the object now and after each change, as long as the caller listens.

        Raises TimeoutError after `seconds`, with a diagnosis.
        """
        command = [self.program, "get", kind, "-n", namespace, "--field-selector", f"metadata.name={name}"]
        with subprocess.Popen(
            [*command, "-o", "json", "--watch", "--output-watch-events"],
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        ) as process:
            timer = threading.Timer(seconds, process.kill)
            timer.start()
            try:
                yield from _objects(process)
            finally:
                timer.cancel()
                process.kill()
        raise TimeoutError(f"{kind} {namespace}/{name}: not done after {seconds:.0f} s\n{self.diagnosis()}")

    @contextmanager
    def port_forward(self, target: str, port: int, *, namespace: str) -> Iterator[str]:
        """Yield an http address on this machine that reaches `port` of `target` (svc/NAME or pod/NAME)."""
        command = [self.program, "port-forward", "-n", namespace, target, f":{port}", "--address", "127.0.0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment) as process:
            try:
                line = process.stdout.readline() if process.stdout else ""
                if "->" not in line:
                    raise KubectlError(f"port-forward to {target} did not start")
                yield "http://" + line.split()[2]
            finally:
                process.kill()


def _objects(process: "subprocess.Popen[str]") -> Iterator[Manifest]:
    """Yield the objects of a stream of watch events, one JSON document a line."""
    for line in process.stdout or ():
        event = json.loads(line)
        if event["type"] != "DELETED":
            yield event["object"]
