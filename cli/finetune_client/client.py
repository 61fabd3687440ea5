"""FinetuneJobs in a notebook: what the `finetune` command does on a cluster, as Python.

    from finetune_client import Client

    client = Client(namespace="search")
    job = client.submit("job.yaml")
    job.wait()
    job.curve().plot(x="step")
    job  # shows the report

What the command tells in one line is raised as RefusalError.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune_api import keys
from finetune_api.contract import ExitCode
from finetune_api.status import FinetuneJobStatus
from finetune_cli.cluster.connection import Cluster, connect
from finetune_cli.cluster.explanation import explain
from finetune_cli.cluster.logs import Wish, last_role, processes_per_node, sources
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.reporting import report
from finetune_cli.cluster.stored import StoredJob, read_stored
from finetune_cli.manifest.checking import Job as Checked
from finetune_cli.manifest.checking import check
from finetune_cli.manifest.validate import read_jobs
from finetune_client.shown import Shown


class Client:
    """The cluster of a kubeconfig's context, or the one that this pod runs in."""

    def __init__(self, *, context: str | None = None, namespace: str | None = None) -> None:
        self._cluster = connect(context=context, namespace=namespace)

    def submit(self, manifest: str | Path | dict[str, Any]) -> "Job":
        """Create the one job of a file or of a manifest; fails with all that is wrong with it."""
        checked = check_one(manifest)
        cluster = self._cluster.at(checked.manifest["metadata"].get("namespace", self._cluster.namespace))
        return Job(cluster, cluster.create(checked.manifest)["metadata"]["name"])

    def job(self, name: str) -> "Job":
        """Return a job that is there."""
        self._cluster.get(name)
        return Job(self._cluster, name)

    def jobs(self) -> "list[Job]":
        """Return all jobs of the namespace."""
        return [Job(self._cluster, one["metadata"]["name"]) for one in self._cluster.jobs(everywhere=False)]


class Job(Shown):
    """One FinetuneJob; what it says of itself is asked for each time."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name

    @property
    def status(self) -> FinetuneJobStatus:
        """Return its status."""
        return self._read().status

    def explain(self) -> str:
        """Return in one line why it is where it is, and whose move it is."""
        return str(explain(self._read(), datetime.now(UTC)))

    def wait(self) -> FinetuneJobStatus:
        """Return its status once it has ended; fails with the explanation if it has failed."""
        for manifest in self._cluster.watch(self.name):
            job = read_stored(manifest)
            if job.exit_code and job.is_finished:
                raise RefusalError(str(explain(job, datetime.now(UTC))), job.exit_code)
            if job.is_finished:
                return job.status
        raise AssertionError("unreachable")

    def logs(self, *, rank: int = 0) -> Iterator[str]:
        """Yield what the pod of a rank has logged so far, or the one of prepare before there is a gang."""
        job = self._read()
        pods = self._cluster.pods(f"{keys.LABEL_JOB_UID}={job.uid}")
        found = sources(pods, Wish(role=last_role(job), rank=rank), processes_per_node=processes_per_node(job))
        for source in found[:1]:
            yield from self._cluster.log(source.pod, source.container, follow=False)

    def report(self) -> str:
        """Return its report as HTML."""
        return report(self._read(), datetime.now(UTC))

    def suspend(self) -> None:
        """Take its pods away; its volume and checkpoints stay."""
        self._cluster.change(self.name, suspend=True)

    def resume(self) -> None:
        """Let it go on from its newest checkpoint."""
        self._cluster.change(self.name, suspend=False)

    def _read(self) -> StoredJob:
        return read_stored(self._cluster.get(self.name))


def check_one(manifest: str | Path | dict[str, Any]) -> Checked:
    """Return the one job, or fail with everything that is wrong, a line each."""
    if isinstance(manifest, dict):
        checked = check(manifest)
        if isinstance(checked, Checked):
            return checked
        raise RefusalError("\n".join(one.text for one in checked), ExitCode.BAD_SPEC)
    reading = read_jobs([str(manifest)])
    if reading.findings:
        raise RefusalError("\n".join(map(str, reading.findings)), ExitCode.BAD_SPEC)
    if len(reading.jobs) != 1:
        raise RefusalError(f"{manifest}: {len(reading.jobs)} jobs; give one file for each", ExitCode.BAD_SPEC)
    return reading.jobs[0][1]
