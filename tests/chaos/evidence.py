"""What is left of each job when all is over: the states it went through, its children, commits, Events and secrets."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.error import HTTPError

from tests.chaos.record import Recorder
from tests.cluster.paths import VOLUMES
from tests.e2e.gang import children, names
from tests.hub.running import RunningHub
from tests.stack.install import READ_TOKEN, WRITE_TOKEN
from tests.stack.kubectl import Kubectl, KubectlError, Manifest

#: Kinds of which a job has one, whatever happens.
SINGLE = ("services", "persistentvolumeclaims")
TOKENS = (READ_TOKEN.encode(), WRITE_TOKEN.encode())


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of one job."""

    name: str
    states: Sequence[Manifest]
    """As it was seen, oldest first."""
    gangs_at_once: int = 1
    """The most that lived at a time."""
    seconds_after_end: float = 0.0
    """For how long pods of a gang were seen after its end."""
    num_children: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SINGLE, 1))
    events: Sequence[str] = ()
    """Reasons, oldest first."""
    commits: Sequence[Manifest] = ()
    """Of its repository, newest first, each with its files."""
    branches: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file of the model on its volume."""
    leaks: Sequence[str] = ()
    """Where a token was found."""

    @property
    def job(self) -> Manifest:
        return self.states[-1]


def gather(kube: Kubectl, hub: RunningHub, recorder: Recorder) -> list[Evidence]:
    """Return what is known of every job that was seen."""
    claims = {
        claim["metadata"]["name"]: VOLUMES / claim["spec"]["volumeName"]
        for claim in kube.find("persistentvolumeclaims", namespace=recorder.namespace)
        if "volumeName" in claim["spec"]
    }
    common = [
        ("operator.log", (recorder.folder / "operator.log").read_bytes()),
        ("Events", str(recorder.events).encode()),
    ]
    leaks = find_leaks(common)
    found = [_of(kube, hub, recorder, claims, name) for name in sorted(recorder.states)]
    return [replace(one, leaks=[*leaks, *one.leaks]) for one in found]


def _of(kube: Kubectl, hub: RunningHub, recorder: Recorder, claims: Mapping[str, Path], name: str) -> Evidence:
    states = [*recorder.states[name]]
    job = states[-1]
    published = _published(hub, job["spec"]["publish"]["repository"])
    volume = claims.get((job.get("status", {}).get("storage") or {}).get("claim", ""))
    return Evidence(
        name=name,
        states=states,
        gangs_at_once=recorder.ranks.gangs_at_once[name],
        seconds_after_end=recorder.ranks.seconds_after_end[name],
        num_children={kind: len(children(kube, kind, job)) for kind in SINGLE},
        events=recorder.events_of(job),
        commits=published["commits"],
        branches=published["branches"],
        tags=published["tags"],
        model=_hashes(volume / "train" / "model") if volume else {},
        leaks=find_leaks(_texts(kube, job, states, volume)),
    )


def _published(hub: RunningHub, repository: str) -> Manifest:
    try:
        return hub.commits(repository)
    except HTTPError:  # there is none
        return {"commits": [], "branches": {}, "tags": {}}


def _hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _texts(
    kube: Kubectl, job: Manifest, states: Sequence[Manifest], volume: Path | None
) -> Iterator[tuple[str, bytes]]:
    """Yield what people may read of a job, with where they read it: statuses, logs, and each file of its volume."""
    metadata = job["metadata"]
    yield "its statuses", str(states).encode()
    for pod in names(children(kube, "pods", job)):
        try:
            yield f"the log of {pod}", kube.run("logs", pod, "-n", metadata["namespace"], "--all-containers").encode()
        except KubectlError:
            continue  # of a node that was lost, or a pod that is gone
    for path in volume.rglob("*") if volume else ():
        if path.is_file():
            yield str(path), path.read_bytes()


def find_leaks(texts: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return where a token is."""
    return [where for where, text in texts if any(token in text for token in TOKENS)]
