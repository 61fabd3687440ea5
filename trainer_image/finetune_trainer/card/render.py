"""The README.md of a published model. Equal inputs give equal bytes; no row of the data is in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from finetune_api.contract import RunConfig
from finetune_trainer.card.metadata import card_metadata, dataset_sources, hub_repository, read_metadata
from finetune_trainer.card.tables import (
    curve_table,
    dimension_table,
    score_table,
    seconds_table,
    table,
    version_table,
)
from finetune_trainer.card.usage import truncation_code, usage_code
from finetune_trainer.data.manifest import InputsManifest
from finetune_trainer.gate import main_score
from finetune_trainer.report.schema import Report

#: Where things run and who may do it: of no use to readers of the card, and names of the cluster's objects.
_NOT_TOLD: dict[str, Any] = {
    "hub": True,
    "publish": {"token_secret"},
    "resources": True,
    "storage": True,
    "schedule": True,
    "retry": True,
    "suspend": True,
    "active_deadline_seconds": True,
    "stall_timeout_seconds": True,
    "ttl_seconds_after_finished": True,
    "image": True,
}


def render_card(config: RunConfig, report: Report, manifest: InputsManifest, *, base_card: Path) -> str:
    """Return the card: metadata, results, usage, and everything needed to train the model again."""
    metadata = card_metadata(config, report, manifest, base=read_metadata(base_card))
    parts = [
        f"---\n{_yaml(metadata)}---",
        f"# {_title(config)}",
        _summary(config, report),
        *_results(config, report),
        *_usage(config, manifest),
        *_making(config, report, manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _title(config: RunConfig) -> str:
    return config.spec.publish.repository.split("/")[1] if config.spec.publish else config.job.name


def _summary(config: RunConfig, report: Report) -> str:
    source = config.spec.model.source
    base = hub_repository(source)
    origin = f"`{base}`" if base else f"a model of a volume claim (`{source}`)"
    text = f"A [Sentence Transformers](https://www.sbert.net) embedding model, finetuned from {origin}."
    score = main_score(report.evaluations, config.spec.evaluation.metric)
    if score is None or score.final is None:
        return text
    before = "" if score.baseline is None else f" from {score.baseline:.4f}"
    return f"{text} {score.metric.upper()} on held-out queries went{before} to **{score.final:.4f}**."


def _results(config: RunConfig, report: Report) -> Iterator[str]:
    if not report.evaluations:
        yield "The model was not evaluated."
        return
    yield "## Results"
    yield score_table(report.evaluations)
    score = main_score(report.evaluations, config.spec.evaluation.metric)
    if score is not None and score.dimensions:
        yield f"{score.metric.upper()} with embeddings cut to fewer dimensions:"
        yield dimension_table(score)


def _usage(config: RunConfig, manifest: InputsManifest) -> Iterator[str]:
    yield "## Usage"
    yield f"```python\n{usage_code(config, manifest)}\n```"
    if (shorter := truncation_code(config)) is not None:
        yield "Shorter embeddings, for less memory and faster search:"
        yield f"```python\n{shorter}\n```"
    prompts = config.spec.model.prompts
    given = {"queries": prompts.query, "documents": prompts.document}
    if any(given.values()):
        yield "Instructions that the model puts before its inputs by itself:"
        yield "\n".join(f"- {role}: `{prompt}`" for role, prompt in given.items() if prompt)


def _making(config: RunConfig, report: Report, manifest: InputsManifest) -> Iterator[str]:
    yield "## Training"
    yield table(("Input", "source", "revision", "rows"), _inputs(config, manifest))
    yield (
        f"{report.steps} of {report.total_steps} steps on {report.world_size} "
        f"process{'es' if report.world_size > 1 else ''}. The configuration, complete:"
    )
    spec = config.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_NOT_TOLD)
    yield f"```yaml\n{_yaml(spec)}```"
    if report.curve:
        yield curve_table(report.curve, metric=config.spec.evaluation.metric)
    if report.seconds:
        yield seconds_table(report.seconds)
    if report.versions:
        yield version_table(report.versions)
    yield f"Made by finetune-operator, run `{report.spec_hash}`."


def _inputs(config: RunConfig, manifest: InputsManifest) -> Iterator[tuple[str, str, str, str]]:
    yield "base model", config.spec.model.source, manifest.model.revision or "", ""
    sources = dataset_sources(config)
    for dataset in manifest.datasets:
        yield dataset.name, sources.get(dataset.name, ""), dataset.revision or "", str(dataset.rows)


def _yaml(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
