"""`finetune submit`: the jobs of a file are checked, then created. Checking loads what no other verb needs."""

import sys
from argparse import Namespace

from finetune_api.contract import ExitCode
from finetune_api.sense import notes
from finetune_cli.cluster.connection import Cluster
from finetune_cli.cluster.refusal import RefusalError
from finetune_cli.cluster.verbs import cluster_of, show_until_ended, tell
from finetune_cli.manifest.checking import Job
from finetune_cli.manifest.validate import read_jobs


def submit(given: Namespace) -> ExitCode:
    """Create the jobs of a file, once nothing is wrong with any of them."""
    reading = read_jobs([given.file])
    for finding in reading.findings:
        sys.stderr.write(f"{finding}\n")
    if reading.findings:
        return ExitCode.BAD_SPEC
    jobs = [job for _, job in reading.jobs]
    if given.watch and len(jobs) != 1:
        raise RefusalError(
            f"{given.file}: {len(jobs)} jobs cannot be watched at once; leave out --watch", ExitCode.USAGE
        )
    cluster = cluster_of(given)
    homes = [cluster.at(_namespace(job, given, cluster)) for job in jobs]
    given.stopped = "Stopped; what was created stays, `finetune list` shows it."
    for job, home in zip(jobs, homes, strict=True):
        for note in notes(job.spec):
            sys.stderr.write(f"Note: {note}\n")
        stored = home.create(job.manifest)
        tell(given, stored, "created")
    if not given.watch:
        return ExitCode.SUCCESS
    given.name = stored["metadata"]["name"]
    return show_until_ended(home, given)


def _namespace(job: Job, given: Namespace, cluster: Cluster) -> str:
    stated = job.manifest["metadata"].get("namespace")
    if stated and given.namespace and stated != given.namespace:
        text = f"{given.file}: metadata.namespace is {stated}, not {given.namespace}; leave one of the two out"
        raise RefusalError(text, ExitCode.USAGE)
    return str(stated or cluster.namespace)
