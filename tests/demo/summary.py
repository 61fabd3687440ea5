"""What a finished demo run says: summary.json and the closing tables."""

import shlex
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.stack.kubectl import Manifest

PHASE_ORDER = ("Pending", "Preparing", "Queued", "Training", "Publishing")


def summarise(job: Manifest, *, reloaded: dict[str, float], wall_seconds: float) -> dict[str, Any]:
    """Return the content of summary.json; `reloaded` holds the scores of the model as loaded from the Hub."""
    status = job["status"]
    scores = {entry["metric"]: entry for entry in status["evaluations"]}
    return {
        "phase": status["phase"],
        "worldSize": status["worldSize"],
        "baselineNdcg10": scores["ndcg@10"]["baseline"],
        "ndcg10": scores["ndcg@10"]["final"],
        "reloadedNdcg10": reloaded["ndcg@10"],
        "metrics": {
            name: {"before": entry["baseline"], "after": entry["final"], "reloaded": reloaded.get(name)}
            for name, entry in scores.items()
        },
        "dimensions": scores["ndcg@10"].get("dimensions", []),
        "repository": status["published"]["repository"],
        "commit": status["published"]["commit"],
        "restarts": status.get("restarts", {}),
        "secondsByPhase": seconds_by_phase(status),
        "wallSeconds": round(wall_seconds, 1),
    }


def seconds_by_phase(status: dict[str, Any]) -> dict[str, float]:
    """Return how long the job stayed in each phase, from the times at which it first entered them."""
    times = {name: datetime.fromisoformat(value) for name, value in status["phaseTimes"].items()}
    end = datetime.fromisoformat(status["completionTime"])
    ordered = sorted((time, name) for name, time in times.items() if name in PHASE_ORDER)
    ends = [time for time, _ in ordered[1:]] + [end]
    return {name: (until - time).total_seconds() for (time, name), until in zip(ordered, ends, strict=True)}


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the tables that close the demo."""
    console.print(_scores_table(summary))
    console.print(_dimensions_table(summary))
    console.print(_phases_table(summary))
    verdict = "[green]the same[/]" if is_the_same(summary) else "[red]not the same[/]"
    console.print(f"Published   {summary['repository']} at commit {summary['commit']}")
    console.print(
        f"Loaded back from the Hub: NDCG@10 {summary['reloadedNdcg10']:.4f}, {verdict} as in the job's status"
    )


def asking(command: str, kubeconfig: str) -> str:
    """Return a command of kubectl as whoever ran the demo types it, for the cluster that it ran on."""
    return f"KUBECONFIG={shlex.quote(kubeconfig)} kubectl {command}"


def is_the_same(summary: dict[str, Any]) -> bool:
    """Tell whether the model from the Hub scores as the job said, to 4 digits."""
    return bool(abs(summary["reloadedNdcg10"] - summary["ndcg10"]) < 5e-5)


def _scores_table(summary: dict[str, Any]) -> Table:
    table = Table("metric", "before", "after", "gain", title="Held-out queries", title_justify="left")
    for name, values in summary["metrics"].items():
        table.add_row(name.replace("ndcg", "NDCG").replace("mrr", "MRR"), *_numbers(values["before"], values["after"]))
    return table


def _dimensions_table(summary: dict[str, Any]) -> Table:
    table = Table("dimensions", "before", "after", "gain", title="NDCG@10 by embedding size", title_justify="left")
    for entry in summary["dimensions"]:
        table.add_row(str(entry["dimension"]), *_numbers(entry["baseline"], entry["final"]))
    return table


def _numbers(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"


def _phases_table(summary: dict[str, Any]) -> Table:
    table = Table("phase", "seconds", title="Time", title_justify="left")
    for name, seconds in summary["secondsByPhase"].items():
        table.add_row(name, f"{seconds:.0f}")
    table.add_row("whole demo", f"{summary['wallSeconds']:.0f}", style="bold")
    return table
