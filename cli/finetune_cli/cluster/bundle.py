"""`finetune bundle`: what somebody needs to find out what is wrong with a job, in one archive without secrets."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from finetune_api import __version__, keys
from finetune_cli.cluster.connection import Cluster
from finetune_cli.cluster.explanation import explain
from finetune_cli.cluster.logs import begun
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.screen import screen
from finetune_cli.cluster.stored import Manifest, StoredJob
from finetune_cli.masking import mask, without_secrets

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
    read("events.json", lambda: [one for one in cluster.objects("/api/v1", "events") if _is_about(one, uids, job)])
    for pod in pods:
        name = pod["metadata"]["name"]
        for container in begun(pod):
            read(f"logs/{name}/{container}.log", partial(_log, cluster, name, container))
    files["missing.txt"] = "".join(f"{line}\n" for line in missing)
    return {file: mask(text) for file, text in files.items()}


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


def _is_about(event: Manifest, uids: Collection[str], job: StoredJob) -> bool:
    """Tell whether an event is about the job or a child, gone ones too: their names have a digest of its uid."""
    about = event.get("involvedObject") or {}
    digest = hashlib.sha256(job.uid.encode()).hexdigest()[:8]
    return about.get("uid") in uids or f"-{digest}-" in str(about.get("name"))


def _log(cluster: Cluster, pod: str, container: str) -> str:
    return "".join(f"{line}\n" for line in cluster.log(pod, container, tail=_LAST_LINES))


def _json(value: object) -> str:
    return json.dumps(without_secrets(value), indent=1) + "\n"
