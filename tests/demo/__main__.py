"""`python -m tests.demo up|down [kind]`: the demo from an empty machine to the closing table."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console

from finetune_cli.cluster.reporting import report
from finetune_cli.cluster.stored import StoredJob, read_stored
from finetune_cli.cluster.watching import follow
from tests.demo import kind
from tests.demo.reloading import evaluate_published
from tests.demo.summary import asking, is_the_same, show, summarise
from tests.demo.volumes import offers_shared_volumes
from tests.stack import jobs
from tests.stack.inputs import forget_model, push_inputs
from tests.stack.install import ROOT, install, uninstall
from tests.stack.kubectl import Manifest
from tests.stack.target import Target, find_given_cluster, find_target

NAMESPACE = "finetune-demo"
LIMIT_SECONDS = 1800
SUMMARY = ROOT / "build" / "demo" / "summary.json"
REPORT = SUMMARY.with_name("report.html")
DASHBOARDS = ROOT / "charts" / "finetune-operator" / "files" / "dashboards"


def main() -> int:
    """Run the demo or remove it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description="The demo.")
    parser.add_argument("command", choices=["up", "down"], help="run it, or remove it")
    parser.add_argument("on", nargs="?", choices=["kind"], help="on a cluster that kind makes for it")
    given = parser.parse_args()
    console = Console(highlight=False)
    match given.command, given.on:
        case "down", "kind":
            kind.down()
            return 0
        case "down", _:
            return _down(console)
        case _, "kind":
            with _step("A cluster of one node, and its images", console):
                kind.up()
            return _up(console, remove="make demo-kind-down")
    return _up(console, remove="make demo-down")


def _up(console: Console, *, remove: str) -> int:
    started = time.monotonic()
    with _step("Cluster and images", console):
        target = find_target()
    with _step("Operator and Hub", console):
        install(target).namespace(NAMESPACE)
    with _step("Inputs: a tiny Qwen3-VL and pages, pushed to the Hub", console):
        push_inputs(target.kubectl, "pages")
    manifest = _manifest(target, console)
    forget_model(target.kubectl, manifest["spec"]["publish"]["repository"])
    ended = _run(target, manifest, console)
    job = ended.manifest
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(report(ended, datetime.now(UTC)), encoding="utf-8")
    if job["status"]["phase"] != "Succeeded":
        told = asking(f"describe finetunejob -n {NAMESPACE}", target.kubectl.kubeconfig)
        console.print(
            f"[red]The job failed.[/] This says more, and `{remove}` removes all of it:\n{told}", soft_wrap=True
        )
        return 1
    with _step("The published model, loaded back from the Hub and evaluated", console):
        dataset = manifest["spec"]["data"]["train"][0]["source"].removeprefix("hf://")
        repository = job["status"]["published"]["repository"]
        reloaded = evaluate_published(target.kubectl, repository, dataset, layout="ROWS")
    summary = summarise(job, reloaded=reloaded, wall_seconds=time.monotonic() - started)
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n")
    show(summary, console)
    told = asking(f"get finetunejobs -n {NAMESPACE}", target.kubectl.kubeconfig)
    console.print(f"`{remove}` removes all of it; until then:\n{told}", soft_wrap=True)
    console.print(closing(), soft_wrap=True)
    return 0 if is_the_same(summary) else 1


def closing() -> str:
    """Return the last lines: which files tell more."""
    return (
        f"Summary     {SUMMARY.relative_to(ROOT)}\n"
        f"Report      {REPORT.relative_to(ROOT)}\n"
        f"Dashboards  {DASHBOARDS.relative_to(ROOT)}, for Grafana to import, or to load with dashboards.enabled"
    )


def _manifest(target: Target, console: Console) -> Manifest:
    manifest = jobs.load_example("demo", namespace=NAMESPACE)
    if not target.has_accelerators:
        console.print("  No node offers nvidia.com/gpu: the job trains on CPU (resources.accelerator.perNode: 0).")
        manifest = jobs.change(manifest, resources__accelerator__perNode=0)
    if not target.is_ours and not offers_shared_volumes(
        target.kubectl, namespace=NAMESPACE, image=target.images["operator"]
    ):
        console.print("  The default StorageClass gives no ReadWriteMany volume: the job has one node.")
        manifest = on_one_node(manifest)
    return manifest


def on_one_node(manifest: Manifest) -> Manifest:
    """Return the job for one node and a volume of that node."""
    return jobs.change(manifest, resources__nodes=1, storage__accessMode="ReadWriteOnce")


def _run(target: Target, manifest: Manifest, console: Console) -> StoredJob:
    name = manifest["metadata"]["name"]
    console.print(
        f"kubectl apply -f examples/demo.yaml    (finetunejob/{name} in namespace {NAMESPACE})",
        style="bold",
        soft_wrap=True,
    )
    target.kubectl.delete(jobs.KIND, name, namespace=NAMESPACE)
    target.kubectl.apply(manifest)
    states = map(read_stored, jobs.watch(target.kubectl, manifest, seconds=LIMIT_SECONDS))
    return follow(states, console, lambda: datetime.now(UTC))


def _down(console: Console) -> int:
    with _step("Removing the demo", console):
        _remove()
    return 0


def _remove() -> None:
    if (given := find_given_cluster()) is not None:
        uninstall(given, NAMESPACE)
        return
    from tests.cluster import cluster

    cluster.down()


@contextmanager
def _step(title: str, console: Console) -> Iterator[None]:
    started = time.monotonic()
    console.print(f"[bold]{title}[/]")
    yield
    console.print(f"  done in {time.monotonic() - started:.0f} s", style="dim")


if __name__ == "__main__":
    sys.exit(main())
