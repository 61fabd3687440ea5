"""What each verb does: ask the API server, show the answer. They return the command's exit code."""

import contextlib
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pydantic.alias_generators import to_camel
from rich.console import Console

from finetune_api import keys
from finetune_api.contract import ExitCode, Role
from finetune_cli.cluster import bundle as bundles
from finetune_cli.cluster import logs as log_sources
from finetune_cli.cluster.commands import ALL
from finetune_cli.cluster.connection import Cluster, connect
from finetune_cli.cluster.explanation import explain as explain_job
from finetune_cli.cluster.interleaving import interleaved
from finetune_cli.cluster.listing import table
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.reporting import report as build_report
from finetune_cli.cluster.screen import screen
from finetune_cli.cluster.stored import Manifest, StoredJob, read_partly, read_stored
from finetune_cli.cluster.watching import follow

JSON = "json"


def status(given: Namespace) -> ExitCode:
    """Show one job on one screen."""
    job = _read(cluster_of(given), given.name)
    if given.output == JSON:
        write_json(job.manifest)
    else:
        _console().print(screen(job, _now()), soft_wrap=True)
    return ExitCode.SUCCESS


def list_jobs(given: Namespace) -> ExitCode:
    """Show a line for each job."""
    cluster = cluster_of(given)
    manifests = cluster.jobs(everywhere=given.all_namespaces)
    if given.output == JSON:
        write_json({"apiVersion": "v1", "kind": "List", "items": manifests})
        return ExitCode.SUCCESS
    jobs = [_read_for_list(manifest) for manifest in manifests]
    where = "on this cluster" if given.all_namespaces else f"in namespace {cluster.namespace}"
    lines = table(jobs, _now(), with_namespace=given.all_namespaces) if jobs else [f"No FinetuneJobs {where}."]
    write_lines(lines)
    return ExitCode.SUCCESS


def _read_for_list(manifest: Manifest) -> StoredJob:
    """Return a job, without what cannot be read of it: one of many is to hide none."""
    try:
        return read_stored(manifest)
    except RefusalError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return read_partly(manifest)


def explain(given: Namespace) -> ExitCode:
    """Say in one line why a job is where it is, and whose move it is."""
    found = explain_job(_read(cluster_of(given), given.name), _now())
    if given.output == JSON:
        write_json(_camel(asdict(found)))
    else:
        write_lines([str(found)])
    return ExitCode.SUCCESS


def watch(given: Namespace) -> ExitCode:
    """Show a job until it has ended; the exit code says how."""
    return show_until_ended(cluster_of(given), given)


def report(given: Namespace) -> ExitCode:
    """Write what is known of a job as one HTML file."""
    job = _read(cluster_of(given), given.name)
    file = given.file or Path(f"{job.name}.html")
    with _writing(file):
        file.write_text(build_report(job, _now()), encoding="utf-8")
    return _wrote(given, job, "report", file)


def bundle(given: Namespace) -> ExitCode:
    """Write what is to be known of a job that goes wrong into one archive."""
    cluster = cluster_of(given)
    job, now = _read(cluster, given.name), _now()
    files = bundles.collect(cluster, job, now)
    file = given.file or Path(f"{job.name}-bundle.tar.gz")
    with _writing(file):
        bundles.write(files, file, folder=f"{job.name}-bundle", now=now)
    return _wrote(given, job, "bundle", file)


def suspend(given: Namespace) -> ExitCode:
    """Set spec.suspend: pods go, the volume and its checkpoints stay."""
    return _set_suspend(given, value=True, done="suspended", undone="is suspended already")


def resume(given: Namespace) -> ExitCode:
    """Unset spec.suspend: training goes on from the newest checkpoint."""
    return _set_suspend(given, value=False, done="resumed", undone="is not suspended")


def rerun(given: Namespace) -> ExitCode:
    """Set spec.rerun to a new text: a job that has ended runs once more, from what its volume holds."""
    cluster = cluster_of(given)
    job = _read(cluster, given.name)
    if not job.is_finished:
        text = f"{job.title} is {job.phase} and has not ended; `finetune watch {job.name}` waits for that"
        raise RefusalError(text, ExitCode.USAGE)
    text = given.text or _now().strftime("%Y-%m-%dT%H:%M:%SZ")
    if text == job.manifest["spec"].get("rerun"):
        raise RefusalError(f"{job.title}: spec.rerun is {text!r} already; give another text", ExitCode.USAGE)
    tell(given, cluster.change(given.name, rerun=text), "runs once more")
    return ExitCode.SUCCESS


def logs(given: Namespace) -> ExitCode:
    """Print the logs of pods, or what is left of them."""
    cluster = cluster_of(given)
    job = _read(cluster, given.name)
    role = Role(given.role) if given.role else None
    if given.rank is not None or given.attempt is not None:
        if role not in (None, Role.TRAIN):
            raise RefusalError(f"--role {role}: has neither ranks nor attempts; leave them out", ExitCode.USAGE)
        role = Role.TRAIN
    wish = log_sources.Wish(
        role=role,
        rank=None if given.rank in (None, ALL) else given.rank,
        attempt=given.attempt,
    )
    pods = cluster.pods(f"{keys.LABEL_JOB_UID}={job.uid}")
    found = log_sources.sources(pods, wish, processes_per_node=log_sources.processes_per_node(job))
    if given.rank is None:
        found = found[:1]  # rank 0 says what all do
    if given.rank == ALL:
        found = _begun(found, pods)
    if not found:
        return _print_what_is_left(cluster, job, wish, pods, given)
    for source, line in interleaved(
        found, lambda one: cluster.log(one.pod, one.container, follow=given.follow, tail=given.tail)
    ):
        _write_log_line(given, source, line, label=f"[{source.label}] " if len(found) > 1 else "")
    return ExitCode.SUCCESS


def _begun(found: list[log_sources.Source], pods: list[Manifest]) -> list[log_sources.Source]:
    """Return the logs of pods that have begun, and tell of the others; all if none has: the API server says why."""
    names = {pod["metadata"]["name"] for pod in pods if log_sources.begun(pod)}
    waiting = [one.pod for one in found if one.pod not in names]
    if len(waiting) == len(found):
        return found
    sys.stderr.writelines(f"Note: {name} has not begun and has no log yet\n" for name in waiting)
    return [one for one in found if one.pod in names]


def _print_what_is_left(
    cluster: Cluster, job: StoredJob, wish: log_sources.Wish, pods: list[Manifest], given: Namespace
) -> ExitCode:
    """Print a log whose pod is gone: from the volume while another pod has it, else its end from the status."""
    wish = log_sources.settled(job, wish)
    where = log_sources.place(job, wish)
    text = cluster.read_file(log_sources.mounted_log(job, wish), pods)
    lines = text.splitlines() if text else log_sources.last_words(job, wish)
    if not lines:
        rest = f"; it is at {where}, docs/logs.md says how to read it" if where else ""
        raise RefusalError(f"{job.title}: no pod has that log any more, or yet{rest}", ExitCode.NOT_FOUND)
    for line in lines if given.tail is None else lines[max(0, len(lines) - given.tail) :]:
        _write_log_line(given, wish, line)
    if not text:
        sys.stderr.write(f"These are its last lines; the whole log is at {where}, docs/logs.md says how to read it.\n")
    return ExitCode.SUCCESS


def _write_log_line(
    given: Namespace, origin: log_sources.Source | log_sources.Wish, line: str, label: str = ""
) -> None:
    if given.output == JSON:
        write_json({**_camel(asdict(origin)), "line": _parsed(line)}, indent=None)
    else:
        write_lines([f"{label}{line}"])
        sys.stdout.flush()


def _camel(fields: dict[str, object]) -> dict[str, object]:
    """Return fields under names as the API has them."""
    return {to_camel(name): value for name, value in fields.items()}


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return line


def _set_suspend(given: Namespace, *, value: bool, done: str, undone: str) -> ExitCode:
    cluster = cluster_of(given)
    job = _read(cluster, given.name)
    if job.is_finished:
        raise RefusalError(f"{job.title} has ended ({job.phase}); `finetune rerun` runs it once more", ExitCode.USAGE)
    is_so = bool(job.manifest["spec"].get("suspend")) is value
    stored = job.manifest if is_so else cluster.change(given.name, suspend=value)
    tell(given, stored, undone if is_so else done)
    return ExitCode.SUCCESS


def show_until_ended(cluster: Cluster, given: Namespace) -> ExitCode:
    """Show a job until it has ended, and return how it did."""
    jobs = (read_stored(manifest) for manifest in cluster.watch(given.name))
    job = _print_each(jobs) if given.output == JSON else follow(jobs, _console(), _now)
    return job.exit_code


def _print_each(jobs: Iterator[StoredJob]) -> StoredJob:
    while True:
        job = next(jobs)
        write_json(job.manifest, indent=None)
        if job.is_finished:
            return job


def cluster_of(given: Namespace) -> Cluster:
    """Return the cluster that is meant."""
    return connect(context=given.context, namespace=given.namespace)


def _read(cluster: Cluster, name: str) -> StoredJob:
    return read_stored(cluster.get(name))


def tell(given: Namespace, stored: Manifest, what: str) -> None:
    """Print what has become of a job, or the job in JSON."""
    if given.output == JSON:
        write_json(stored)
    else:
        metadata = stored["metadata"]
        write_lines([f"{metadata['namespace']}/{metadata['name']} {what}"])


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Turn the error of a file that cannot be written into what is told of it."""
    try:
        yield
    except OSError as error:
        text = f"--file: {file} cannot be written ({error.strerror}); name a file where you may write"
        raise RefusalError(text, ExitCode.USAGE) from error


def _wrote(given: Namespace, job: StoredJob, what: str, file: Path) -> ExitCode:
    """Print where something was written."""
    if given.output == JSON:
        write_json({"file": str(file)})
    else:
        write_lines([f"{job.title}: {what} written to {file}"])
    return ExitCode.SUCCESS


def write_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value for programs."""
    sys.stdout.write(json.dumps(value, indent=indent) + "\n")
    sys.stdout.flush()


def write_lines(lines: Iterable[str]) -> None:
    """Print lines for people."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _console() -> Console:
    return Console(highlight=False)


def _now() -> datetime:
    return datetime.now(UTC)
