"""The report of a job: one HTML file that needs nothing else, not even a network."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

import yaml

from finetune_api import __version__
from finetune_api.status import CurvePoint, EvaluationScore, FinetuneJobStatus, ModelStatus
from finetune_api.telling import duration, usage_text
from finetune_cli.masking import mask, without_secrets
from finetune_cli.report.chart import chart

_STYLE = """\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}
th,td{text-align:left;padding:.2rem 1.2rem .2rem 0;vertical-align:top}th{white-space:nowrap}td{overflow-wrap:anywhere}
td.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;margin:.5rem 0}svg text{font-size:11px;fill:currentColor}svg .title{font-size:13px}
polyline{fill:none;stroke:#2563eb;stroke-width:2}circle{fill:#2563eb}.axis{fill:none;stroke:currentColor;opacity:.5}
.baseline{stroke:#d97706;stroke-dasharray:5 4}pre{overflow:auto;font-size:12px}.warning{color:#d97706}"""


@dataclass(frozen=True)
class Subject:
    """What a report is about."""

    title: str
    spec: dict[str, Any]
    status: FinetuneJobStatus
    curve: Sequence[CurvePoint]
    """All points that are known; a status keeps few of them."""
    metric: str
    """The one that decides."""
    now: datetime


def page(subject: Subject) -> str:
    """Return the report."""
    parts = [*_head(subject), *_curves(subject), *_scores(subject.status.evaluations), *_sources(subject)]
    parts += [*_run(subject), *_warnings(subject.status), _manifest(subject.spec)]
    title = escape(subject.title)
    return mask(
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n'
        f"{''.join(parts)}</body></html>\n"
    )


def _head(subject: Subject) -> Iterator[str]:
    yield f"<h1>{escape(subject.title)}</h1>\n"
    phase = subject.status.phase
    main = next((one for one in subject.status.evaluations if one.metric == subject.metric), None)
    gain = f": {escape(_in_words(main))}" if main else ""
    yield f"<p><strong>{escape(phase or 'Pending')}</strong>{gain}</p>\n"


def _in_words(score: EvaluationScore) -> str:
    gain = ", ".join(filter(None, [_gain(score), _interval(score)]))
    both = f"{_number(score.baseline)} before, {_number(score.final)} after"
    return f"{score.metric} on {score.name} {both}{f' ({gain})' if gain else ''}"


def _curves(subject: Subject) -> Iterator[str]:
    losses = [(float(one.step), one.loss) for one in subject.curve if one.loss is not None]
    scores = [(float(one.step), one.score) for one in subject.curve if one.score is not None]
    if not losses and not scores:
        return
    metrics, last = subject.status.metrics, float(subject.curve[-1].step)
    yield "<h2>Training</h2>\n" + chart("loss", losses, last=last)
    yield chart(subject.metric, scores, last=last, baseline=metrics.baseline_score if metrics else None)
    points = [one.model_dump(by_alias=True, exclude_none=True) for one in subject.curve]
    yield f'<script type="application/json" id="curve">{json.dumps(points)}</script>\n'


def _scores(evaluations: Sequence[EvaluationScore]) -> Iterator[str]:
    if not evaluations:
        return
    rows = [
        [one.name, one.metric, _number(one.baseline), _number(one.final), _gain(one), _interval(one)]
        for one in evaluations
    ]
    yield "<h2>Scores</h2>\n" + _table(["evaluation set", "metric", "before", "after", "gain", "interval"], rows)
    for one in evaluations:
        if one.dimensions:
            sizes = [[str(size.dimension), _number(size.baseline), _number(size.final)] for size in one.dimensions]
            title = f"{one.metric} on {one.name} by embedding size"
            yield f"<h2>{escape(title)}</h2>\n" + _table(["dimensions", "before", "after"], sizes)


def _sources(subject: Subject) -> Iterator[str]:
    status = subject.status
    found = status.model or ModelStatus()
    trained = found.trainable_parameters
    facts: list[Sequence[str | None]] = [
        ["model", ", ".join(dict.fromkeys(_named(subject.spec["model"])))],
        ["revision", found.revision],
        ["modalities", ", ".join(found.modalities)],
        ["weights", None if found.parameters is None else f"{found.parameters:,}"],
        ["trained", None if trained is None else f"{trained:,}"],
        ["precision", found.dtype],
        ["attention", found.attention],
    ]
    yield "<h2>Model</h2>\n" + _facts(facts)
    if status.datasets:
        rows = [[one.name, one.revision or "", str(one.rows), str(one.skipped)] for one in status.datasets]
        yield "<h2>Data</h2>\n" + _table(["dataset", "revision", "rows", "left out"], rows)


def _named(model: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield where the weights come from; a router has several models and no source of its own."""
    for key, value in model.items() if isinstance(model, dict) else enumerate(model):
        if key == "source":
            yield str(value)
        elif isinstance(value, dict | list):
            yield from _named(value)


def _run(subject: Subject) -> Iterator[str]:
    status = subject.status
    since = datetime.fromisoformat(status.training_time) if status.training_time else subject.now
    seconds = status.trained_seconds + max(0.0, (subject.now - since).total_seconds())  # clocks differ
    published = status.published
    facts: list[Sequence[str | None]] = [
        ["run", status.run],
        ["started", status.start_time],
        ["ended", status.completion_time],
        ["trained for", duration(seconds) if seconds else None],
        ["used", usage_text(status.usage) if status.usage else None],
        ["gangs", str(status.attempt) if status.attempt else None],
        ["processes of the newest gang", str(status.world_size) if status.world_size else None],
        ["image", status.image.name if status.image else None],
        ["published", f"{published.repository} {published.url or published.commit or ''}" if published else None],
        ["reported by", f"finetune {__version__}"],
    ]
    yield "<h2>Run</h2>\n" + _facts(facts)


def _warnings(status: FinetuneJobStatus) -> Iterator[str]:
    yield from (f'<p class="warning">{escape(warning)}</p>\n' for warning in status.warnings)


def _manifest(spec: dict[str, Any]) -> str:
    text = yaml.safe_dump(without_secrets(spec), sort_keys=False, allow_unicode=True)
    return f"<details><summary>spec</summary><pre>{escape(text)}</pre></details>\n"


def _facts(facts: Sequence[Sequence[str | None]]) -> str:
    rows = "".join(f"<tr><th>{escape(name or '')}</th><td>{escape(value)}</td></tr>" for name, value in facts if value)
    return f"<table>{rows}</table>\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{lines}</table>\n"


def _cell(text: str) -> str:
    is_number = text.lstrip("+-").replace(".", "", 1).isdigit()
    return f"<td{' class=n' if is_number else ''}>{escape(text)}</td>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _gain(score: EvaluationScore) -> str:
    return "" if score.baseline is None or score.final is None else f"{score.final - score.baseline:+.4f}"


def _interval(score: EvaluationScore) -> str:
    low, high = score.improvement_low, score.improvement_high
    return "" if low is None or high is None else f"{score.confidence:.0%}: {low:+.4f} to {high:+.4f}"
