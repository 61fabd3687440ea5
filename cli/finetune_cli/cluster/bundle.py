"""`finetune bundle`: what somebody needs to find out what is wrong with a job, in one archive without secrets."""

import io
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from finetune_api import __version__, keys
from finetune_cli.cluster.connection import Cluster
from finetune_cli.cluster.explanation import explain
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.screen import screen
from finetune_cli.cluster.stored import Manifest, StoredJob

#: Whatever looks like a token of the Hub or of a ServiceAccount.
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
_SECRET_NAME = re.compile(r"token|secret|passw|credential|api_?key", re.IGNORECASE)
_STARS = "***"
#: Of no use here, and with all that an object ever was applied with.
_LEFT_OUT = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")
_LAST_LINES = 5000


def collect(cluster: Cluster, job: StoredJob, now: datetime) -> dict[str, str]:
    """Return the files of the archive; what cannot be read, with the reason, is in `missing.txt`."""
    selector = f"{keys.LABEL_JOB_UID}={job.uid}"
    files, missing = _of_the_job(job, now), list[str]()

    def read(file: str, get: Callable[[], Any]) -> Any:  # noqa: ANN401 - text, or JSON
        try:
            found = get()
        except RefusalError as error:
            missing.append(f"{file}: {error}")
            return []
        files[file] = found if isinstance(found, str) else _json(found)
        return found

    pods = read("pods.json", lambda: cluster.pods(selector))
    jobs = read("jobs.json", lambda: cluster.objects("/apis/batch/v1", "jobs", labelSelector=selector))
    claims = read(
        "volume-claims.json", lambda: cluster.objects("/api/v1", "persistentvolumeclaims", labelSelector=selector)
    )
    uids = {job.uid, *(one["metadata"]["uid"] for one in (*pods, *jobs, *claims))}
    read("events.json", lambda: [one for one in cluster.objects("/api/v1", "events") if _uid_of(one) in uids])
    for pod in pods:
        name = pod["metadata"]["name"]
        for container in _containers(pod):
            read(f"logs/{name}/{container}.log", partial(_log, cluster, name, container))
    files["missing.txt"] = "".join(f"{line}\n" for line in missing)
    return {file: _TOKEN.sub(_STARS, text) for file, text in files.items()}


def write(files: Mapping[str, str], path: Path, *, folder: str, now: datetime) -> None:
    """Write the files as one archive, all of them below a folder."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime = len(data), int(now.timestamp())
            archive.addfile(entry, io.BytesIO(data))


def _of_the_job(job: StoredJob, now: datetime) -> dict[str, str]:
    return {
        "job.json": _json(job.manifest),
        "status.txt": screen(job, now).plain + "\n",
        "explain.txt": f"{explain(job, now)}\n",
        "version.txt": f"finetune {__version__}, {now.isoformat(timespec='seconds')}\n",
    }


def _uid_of(event: Manifest) -> str:
    return str((event.get("involvedObject") or {}).get("uid", ""))


def _containers(pod: Manifest) -> list[str]:
    """Return the containers of a pod that have begun, and so may have a log."""
    status = pod.get("status") or {}
    told = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return [one["name"] for one in told if "waiting" not in (one.get("state") or {})]


def _log(cluster: Cluster, pod: str, container: str) -> str:
    return "".join(f"{line}\n" for line in cluster.log(pod, container, tail=_LAST_LINES))


def _json(value: object) -> str:
    return json.dumps(without_secrets(value), indent=1) + "\n"


def without_secrets(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a copy in which variables have no value whose names sound like secrets."""
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: without_secrets(item) for key, item in value.items() if key not in _LEFT_OUT}
    is_secret = "value" in kept and _SECRET_NAME.search(str(kept.get("name", "")))
    return {**kept, "value": _STARS} if is_secret else kept
