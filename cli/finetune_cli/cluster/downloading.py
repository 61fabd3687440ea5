"""`finetune download`: the model of a finished job, from the Hub if it is there, else off the job's volume."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from finetune_api import keys
from finetune_api.contract import ExitCode
from finetune_cli.cluster.connection import Cluster
from finetune_cli.cluster.reader import reader_pod, reading
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.stored import StoredJob, read_stored
from finetune_cli.cluster.verbs import JSON, cluster_of, write_json, write_lines
from finetune_cli.models.download import from_hub, from_volume
from finetune_cli.models.refusing import ModelError

VOLUME, HUB = "volume", "hub"


def download(given: Namespace) -> ExitCode:
    """Write the model into a folder that is not there yet, whole or not at all."""
    cluster = cluster_of(given)
    job = read_stored(cluster.get(given.name))
    target = given.dir or Path(job.name)
    origin = _origin(job, given.origin)
    if target.exists() or target.is_symlink():  # an empty folder, too: `.` and mount points cannot be renamed to
        raise RefusalError(f"{target} is there already; name a folder that is not", ExitCode.USAGE)
    given.stopped = "Stopped; nothing was written."
    try:
        num_bytes = _from_hub(job, target) if origin == HUB else _from_volume(cluster, job, target, given)
    except ModelError as error:
        raise RefusalError(f"{job.title}: {error}", error.code) from error
    except OSError as error:
        text = f"{error.filename or target} cannot be written ({error.strerror}); name a folder where there is room"
        raise RefusalError(text, ExitCode.USAGE) from error
    if given.output == JSON:
        write_json({"folder": str(target), "from": origin, "bytes": num_bytes})
    else:
        write_lines([f"{job.title}: model of {num_bytes / 1e6:.0f} MB written to {target}, from {_place(job, origin)}"])
    return ExitCode.SUCCESS


def _origin(job: StoredJob, wanted: str | None) -> str:
    """Return where the model is; fails where there is none yet, or not there."""
    published, storage = job.status.published, job.status.storage
    is_published = published is not None and published.is_on_hub
    if wanted == HUB and not is_published:
        why = "it was not published" if published is None else f"it was published as {published.url}"
        raise RefusalError(f"{job.title}: {why}; leave out --from {HUB}", ExitCode.NOT_FOUND)
    if is_published and wanted != VOLUME:
        return HUB
    if not job.is_finished:
        text = f"{job.title} is {job.phase} and has no model yet; `finetune watch {job.name}` waits for that"
        raise RefusalError(text, ExitCode.NOT_FOUND)
    if storage is None:
        raise RefusalError(f"{job.title} ended before it had a volume, so it has no model", ExitCode.NOT_FOUND)
    return VOLUME


def _place(job: StoredJob, origin: str) -> str:
    published, storage = job.status.published, job.status.storage
    if origin == HUB and published is not None:
        return f"{published.repository} at {published.commit}"
    return f"volume claim {storage.claim}" if storage is not None else origin


def _from_hub(job: StoredJob, target: Path) -> int:
    published = job.status.published
    assert published is not None
    assert published.commit is not None
    return from_hub(published.repository, published.commit, target)


def _from_volume(cluster: Cluster, job: StoredJob, target: Path, given: Namespace) -> int:
    pod = reader_pod(job, cluster.pods(f"{keys.LABEL_JOB_UID}={job.uid}"), image=given.image)
    console = Console(stderr=True)
    bar = Progress(*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn(), console=console)
    bar.disable = not console.is_terminal
    with reading(cluster, job, pod) as read, bar:
        task = bar.add_task(job.name, total=None)

        def seen(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return from_volume(_told(read, job), target, seen=seen)


def _told(read: Callable[[Path], Iterator[bytes]], job: StoredJob) -> Callable[[Path], Iterator[bytes]]:
    """Return the same reader, which tells what it is that a file is not there."""

    def told(path: Path) -> Iterator[bytes]:
        try:
            yield from read(path)
        except RefusalError as refusal:
            if refusal.code != ExitCode.NOT_FOUND:
                raise
            text = f"{job.title}: there is no {path} on its volume, so no training has ended well there ({refusal})"
            raise RefusalError(text, ExitCode.NOT_FOUND) from refusal

    return told
