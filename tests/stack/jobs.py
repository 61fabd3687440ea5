"""FinetuneJobs as a user handles them: apply, watch, read conditions."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.stack.kubectl import Kubectl, Manifest

#: With its group: tests of the chart install another kind of the same name, which kubectl remembers for a while.
KIND = "finetunejobs.finetune.dev"


def load_example(name: str, *, namespace: str, **changes: object) -> Manifest:
    """Return `examples/NAME.yaml` in `namespace`; `changes` are spec paths with __ for dots."""
    text = (Path(__file__).parents[2] / "examples" / f"{name}.yaml").read_text()
    manifest: Manifest = yaml.safe_load(text)
    manifest["metadata"]["namespace"] = namespace
    return change(manifest, **changes)


def change(manifest: Manifest, **changes: object) -> Manifest:
    """Return a copy with spec fields set, for example `training__maxSteps=5`; None removes a field."""
    changed = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = changed["spec"]
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return changed


def named(manifest: Manifest, name: str) -> Manifest:
    """Return a copy with another name."""
    return manifest | {"metadata": manifest["metadata"] | {"name": name}}


def condition(job: Manifest, kind: str) -> dict[str, Any]:
    """Return one condition, or an empty dict."""
    conditions = job.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), {})


def is_finished(job: Manifest) -> bool:
    """Return whether the job has succeeded or failed."""
    return bool(condition(job, "Finished").get("status") == "True")


def watch(kubectl: Kubectl, job: Manifest, *, seconds: float) -> Iterator[Manifest]:
    """Yield the job's states; raises TimeoutError after `seconds`."""
    metadata = job["metadata"]
    return kubectl.watch(KIND, metadata["name"], namespace=metadata["namespace"], seconds=seconds)


def wait_until(kubectl: Kubectl, job: Manifest, holds: Callable[[Manifest], bool], *, seconds: float) -> Manifest:
    """Return the first state for which `holds` is true; raises TimeoutError with the last state."""
    state: Manifest = {}
    try:
        for state in watch(kubectl, job, seconds=seconds):
            if holds(state):
                return state
    except TimeoutError as error:
        raise TimeoutError(f"last status: {state.get('status')}\n{error}") from None
    raise AssertionError("unreachable")


def states_until(
    kubectl: Kubectl, job: Manifest, holds: Callable[[Manifest], bool], *, seconds: float
) -> list[Manifest]:
    """Return every state of the job from now on, the first for which `holds` is true as the last."""
    states = []
    for state in watch(kubectl, job, seconds=seconds):
        states.append(state)
        if holds(state):
            break
    return states


def wait_until_finished(kubectl: Kubectl, job: Manifest, *, seconds: float) -> Manifest:
    """Return the job when it has succeeded or failed."""
    return wait_until(kubectl, job, is_finished, seconds=seconds)
