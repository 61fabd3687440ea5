"""The YAML block of a model card, as the Hub's search and filters read it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load

from finetune_api.contract import RunConfig
from finetune_api.datasets import EvaluationDataset
from finetune_api.sense import evaluation_sets, evaluator_of
from finetune_api.status import EvaluationScore
from finetune_trainer.publish.card.naming import TASKS, metric_name
from finetune_trainer.publish.card.sources import base_models, dataset_sources, hub_repository
from finetune_trainer.recipe.metrics import GIVEN_ORDER, trained_dimensions
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report

_LICENCE_KEYS = ("license", "license_name", "license_link")


def card_metadata(
    config: RunConfig, report: Report, manifest: InputsManifest, *, bases: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the metadata; `bases` is that of the base model or of a router's encoders.

    What came from a volume claim is not named, since nobody could follow the name.
    """
    shows_pages = any(column.modality == "image" for table in manifest.train for column in table.columns)
    metadata: dict[str, Any] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": _pipeline_tag(config, shows_pages=shows_pages),
        "tags": list(_tags(config, shows_pages=shows_pages)),
        **_origin(config, bases),
    }
    found = [hub_repository(source) for source in dataset_sources(config).values()]
    if datasets := list(dict.fromkeys(repository for repository in found if repository is not None)):
        metadata["datasets"] = datasets
    if results := list(_results(config, report)):
        name = config.spec.publish.model_name if config.spec.publish else config.job.name
        metadata["model-index"] = [{"name": name, "results": results}]
    return metadata


def read_metadata(card: Path) -> dict[str, Any]:
    """Return the YAML block of a card; empty if there is no card or no block that can be read."""
    try:
        return metadata_load(card) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _origin(config: RunConfig, bases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return base models and their licence; of several, only a licence that they share."""
    named = [name for base in base_models(config) if (name := hub_repository(base.source)) is not None]
    if not named:
        return {}
    licences = [{key: base[key] for key in _LICENCE_KEYS if key in base} for base in bases]
    shared = licences[0] if licences and all(licence == licences[0] for licence in licences) else {}
    return {"base_model": named[0] if len(named) == 1 else named, "base_model_relation": "finetune", **shared}


def _pipeline_tag(config: RunConfig, *, shows_pages: bool) -> str:
    if config.spec.model.kind == "Reranker":
        return "text-ranking"
    return "visual-document-retrieval" if shows_pages else "sentence-similarity"


def _tags(config: RunConfig, *, shows_pages: bool) -> Iterator[str]:
    spec = config.spec
    yield "sentence-transformers"
    yield from ("cross-encoder", "reranker") if spec.model.kind == "Reranker" else ("feature-extraction",)
    yield "finetune-operator"
    if shows_pages:
        yield "multimodal"
    if spec.model.router is not None:
        yield "router"
    if trained_dimensions(spec):
        yield "matryoshka"


def _results(config: RunConfig, report: Report) -> Iterator[dict[str, Any]]:
    for dataset in evaluation_sets(config.spec).values():
        scores = [score for score in report.evaluations if score.name == dataset.name and score.final is not None]
        if scores:
            yield _result(config, dataset, scores)


def _result(config: RunConfig, dataset: EvaluationDataset, scores: Sequence[EvaluationScore]) -> dict[str, Any]:
    task, name = TASKS[evaluator_of(config.spec, dataset)]
    return {
        "task": {"type": task, "name": name},
        "dataset": {
            "name": dataset.name,
            "type": hub_repository(dataset.source) or dataset.name,
            "split": dataset.split,
        },
        "metrics": [
            {"type": score.metric, "name": metric_name(score.metric), "value": score.final}
            for score in scores
            if not score.metric.startswith(GIVEN_ORDER)
        ],
    }
