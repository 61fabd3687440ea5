"""Writes the chart's Grafana dashboards: `python -m tests.chart.dashboards`. What they show is in docs/metrics.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import LegendPlacement, TooltipDisplayMode

from tests.chart.helm import CHART

FOLDER = CHART / "files" / "dashboards"
#: Of Grafana's grid, which is 24 wide.
WIDTH, HEIGHT = 12, 8
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
OF_NAMESPACES = '{namespace=~"$namespace"}'
OF_JOB = '{namespace="$namespace", name="$name"}'


@dataclass(frozen=True)
class Panel:
    """One graph: its title, Grafana's name of the unit, and expressions with what each line is called."""

    title: str
    unit: str
    lines: dict[str, str]


#: By row.
JOBS: dict[str, Sequence[Panel]] = {
    "Jobs": [
        Panel("Jobs by phase", "short", {f"sum by (phase) (finetune_jobs{OF_NAMESPACES})": "{{phase}}"}),
        Panel("Progress", "percentunit", {f"finetunejob_progress_ratio{OF_NAMESPACES}": "{{namespace}}/{{name}}"}),
        Panel(
            "Best score above the base model's",
            "short",
            {
                f"finetunejob_best_score{OF_NAMESPACES} - finetunejob_baseline_score{OF_NAMESPACES}": (
                    "{{namespace}}/{{name}} {{metric}}"
                )
            },
        ),
        Panel(
            "Gangs lost within an hour, by reason",
            "short",
            {f"sum by (reason) (increase(finetune_attempts_total{OF_NAMESPACES}[1h]))": "{{reason}}"},
        ),
        Panel(
            "How long jobs of all namespaces took that ended within a day, 9 of 10",
            "s",
            {
                "histogram_quantile(0.9, sum by (le, result) (increase(finetune_job_duration_seconds_bucket[1d])))": (
                    "{{result}}"
                )
            },
        ),
        Panel(
            "Time since the newest checkpoint of those that train",
            "s",
            {
                f"time() - finetunejob_last_checkpoint_timestamp_seconds{OF_NAMESPACES} and on (namespace, name) "
                'finetunejob_phase{phase="Training"} == 1': "{{namespace}}/{{name}}"
            },
        ),
        Panel(
            "Accelerators, and processes of jobs without, by what came of them within an hour",
            "short",
            {
                f"sum by (of, kind) (increase(finetunejob_usage_seconds_total{OF_NAMESPACES}[1h])) / 3600": (
                    "{{of}}, {{kind}}"
                )
            },
        ),
    ],
    "Operator": [
        Panel(
            "Requests to the API server",
            "reqps",
            {"sum by (verb, code) (rate(finetune_operator_api_requests_total[$__rate_interval]))": "{{verb}} {{code}}"},
        ),
        Panel(
            "Status writes",
            "wps",
            {
                "sum(rate(finetune_operator_status_writes_total[$__rate_interval]))": "all",
                "sum(rate(finetune_operator_progress_writes_total[$__rate_interval]))": "progress",
            },
        ),
        Panel(
            "Jobs that wait to be looked at, and for how long, 99 of 100",
            "short",
            {
                "sum(finetune_operator_queue_depth)": "jobs",
                "histogram_quantile(0.99, sum by (le) (rate(finetune_operator_queue_wait_seconds_bucket"
                "[$__rate_interval])))": "seconds",
            },
        ),
        Panel(
            "Looks at jobs",
            "ops",
            {"sum by (result) (rate(finetune_operator_reconcile_total[$__rate_interval]))": "{{result}}"},
        ),
        Panel(
            "Memory",
            "bytes",
            {"process_resident_memory_bytes and on (instance) finetune_operator_build_info": "resident"},
        ),
        Panel(
            "What is wrong: rights, fields, objects, other writers, watches",
            "short",
            {
                "sum(finetune_operator_missing_right)": "missing rights",
                "max(finetune_operator_crd_missing_fields)": "fields that the CRD lacks",
                "sum by (reason) (finetune_operator_ignored_objects)": "{{reason}} objects",
                "sum(increase(finetune_operator_foreign_status_writes[1h]))": "writes of others within an hour",
                "max(finetune_operator_watch_overdue_seconds)": "seconds that a watch is behind",
            },
        ),
    ],
}
JOB: dict[str, Sequence[Panel]] = {
    "Quality": [
        Panel("Loss", "short", {f"finetune_train_loss{OF_JOB}": "rank 0", f"finetunejob_train_loss{OF_JOB}": "status"}),
        Panel(
            "Score against the base model's",
            "short",
            {
                f"finetunejob_score{OF_JOB}": "{{metric}}",
                f"finetunejob_best_score{OF_JOB}": "best",
                f"finetunejob_baseline_score{OF_JOB}": "base model",
            },
        ),
        Panel("Scores of all evaluation sets", "short", {f"finetune_eval_score{OF_JOB}": "{{dataset}} {{metric}}"}),
        Panel(
            "Scores by embedding size",
            "short",
            {f"finetune_eval_dimension_score{OF_JOB}": "{{dataset}} {{metric}}, {{dimension}} dimensions"},
        ),
        Panel("Learning rate", "sci", {f"finetune_train_learning_rate{OF_JOB}": "learning rate"}),
        Panel(
            "Gradients",
            "short",
            {
                f"finetune_train_grad_norm{OF_JOB}": "norm",
                f"finetune_train_nonfinite_steps_total{OF_JOB}": "steps that were no number",
            },
        ),
    ],
    "Speed": [
        Panel("Progress", "percentunit", {f"finetunejob_progress_ratio{OF_JOB}": "steps made"}),
        Panel("Rows", "rowsps", {f"rate(finetune_train_samples_total{OF_JOB}[$__rate_interval])": "rows of all ranks"}),
        Panel(
            "Time of a step",
            "s",
            {
                f"histogram_quantile({share}, sum by (le) (rate(finetune_train_step_duration_seconds_bucket{OF_JOB}"
                "[$__rate_interval])))": name
                for share, name in ((0.5, "half"), (0.9, "9 of 10"))
            },
        ),
        Panel("Memory of rank 0", "bytes", {f"finetune_train_memory_bytes{OF_JOB}": "{{kind}}"}),
        Panel(
            "Steps, and those in the newest checkpoint",
            "short",
            {f"finetune_train_step{OF_JOB}": "made", f"finetune_train_checkpoint_step{OF_JOB}": "saved"},
        ),
        Panel(
            "Gangs",
            "short",
            {f"finetunejob_attempt{OF_JOB}": "attempt", f"finetunejob_restarts{OF_JOB}": "restarts, {{kind}}"},
        ),
        Panel(
            "Time of accelerators, or of processes without, by what came of it",
            "s",
            {f"finetunejob_usage_seconds_total{OF_JOB}": "{{of}}, {{kind}}"},
        ),
    ],
}


def build_jobs() -> str:
    """Return the dashboard of all jobs and the operator, as JSON."""
    namespaces = (
        _choice("namespace", "label_values(finetune_jobs, namespace)").multi(multi=True).include_all(include_all=True)
    )
    return _build("FinetuneJobs", "finetune-jobs", [namespaces], JOBS)


def build_job() -> str:
    """Return the dashboard of one job, as JSON."""
    namespace = _choice("namespace", "label_values(finetunejob_phase, namespace)")
    name = _choice("name", 'label_values(finetunejob_phase{namespace="$namespace"}, name)')
    return _build("FinetuneJob", "finetune-job", [namespace, name], JOB)


def _choice(name: str, query: str) -> dashboard.QueryVariable:
    refresh = models.VariableRefresh.ON_TIME_RANGE_CHANGED
    return dashboard.QueryVariable(name).datasource(SOURCE).query(query).refresh(refresh)


def _build(title: str, uid: str, choices: list[dashboard.QueryVariable], rows: dict[str, Sequence[Panel]]) -> str:
    built = dashboard.Dashboard(title).uid(uid).tags(["finetune-operator"]).refresh("30s").time("now-6h", "now")
    built.with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
    for choice in choices:
        built.with_variable(choice)
    for row, panels in rows.items():
        built.with_row(dashboard.Row(row))
        for panel in panels:
            built.with_panel(_graph(panel))
    return JSONEncoder(sort_keys=True, indent=1).encode(built.build()) + "\n"


def _graph(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(show_legend=True).placement(LegendPlacement.BOTTOM)
    graph = timeseries.Panel().title(panel.title).unit(panel.unit).datasource(SOURCE).span(WIDTH).height(HEIGHT)
    graph.legend(legend).tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    for number, (expression, name) in enumerate(panel.lines.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(name).ref_id(chr(ord("A") + number))
        graph.with_target(query.datasource(SOURCE))
    return graph


#: By the name of the file.
DASHBOARDS = {"jobs.json": build_jobs, "job.json": build_job}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, build in DASHBOARDS.items():
        (FOLDER / file).write_text(build())
