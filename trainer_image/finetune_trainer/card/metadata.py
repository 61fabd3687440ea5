"""The YAML block of a model card, as the Hub's search and filters read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from finetune_api.contract import RunConfig
from finetune_api.sources import HubSource, parse_source
from finetune_api.status import EvaluationScore
from finetune_trainer.data.manifest import InputsManifest
from finetune_trainer.report.schema import Report

_FENCE = "---"
_LICENCE_KEYS = ("license", "license_name", "license_link")


def card_metadata(
    config: RunConfig, report: Report, manifest: InputsManifest, *, base: dict[str, Any]
) -> dict[str, Any]:
    """Return the metadata; what came from a volume claim is not named, since nobody could follow the name."""
    base_model = hub_repository(config.spec.model.source)
    sources = dataset_sources(config)
    datasets = [found for source in sources.values() if (found := hub_repository(source)) is not None]
    shows_pages = any(column.modality == "image" for column in manifest.train.columns)
    metadata: dict[str, Any] = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "visual-document-retrieval" if shows_pages else "sentence-similarity",
        "tags": list(_tags(config, shows_pages=shows_pages)),
    }
    if base_model is not None:
        metadata |= {"base_model": base_model, "base_model_relation": "finetune"}
        metadata |= {key: base[key] for key in _LICENCE_KEYS if key in base}
    if datasets:
        metadata["datasets"] = list(dict.fromkeys(datasets))
    if results := list(_results(config, report)):
        name = config.spec.publish.repository.split("/")[1] if config.spec.publish else config.job.name
        metadata["model-index"] = [{"name": name, "results": results}]
    return metadata


def dataset_sources(config: RunConfig) -> dict[str, str]:
    """Return the source of every dataset by its name."""
    data = config.spec.data
    train = {dataset.name: dataset.source for dataset in data.train}
    return train | {dataset.name: dataset.source for dataset in data.evaluation}


def hub_repository(source: str) -> str | None:
    """Return `owner/name` of an `hf://` source, None for a volume claim."""
    parsed = parse_source(source)
    return parsed.repository if isinstance(parsed, HubSource) else None


def read_metadata(card: Path) -> dict[str, Any]:
    """Return the YAML block of a card; empty if there is no card or no block that can be read."""
    try:
        lines = card.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    if not lines or lines[0].strip() != _FENCE or _FENCE not in lines[1:]:
        return {}
    try:
        found = yaml.safe_load("\n".join(lines[1 : lines.index(_FENCE, 1)]))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _tags(config: RunConfig, *, shows_pages: bool) -> Iterator[str]:
    yield from ("sentence-transformers", "feature-extraction", "finetune-operator")
    if shows_pages:
        yield "multimodal"
    if config.spec.training.loss.matryoshka_dimensions:
        yield "matryoshka"


def _results(config: RunConfig, report: Report) -> Iterator[dict[str, Any]]:
    for dataset in config.spec.data.evaluation:
        scores = [score for score in report.evaluations if score.name == dataset.name and score.final is not None]
        if scores:
            yield {
                "task": {"type": "information-retrieval", "name": "Information Retrieval"},
                "dataset": {
                    "name": dataset.name,
                    "type": hub_repository(dataset.source) or dataset.name,
                    "split": dataset.split,
                },
                "metrics": [_metric(score) for score in scores],
            }


def _metric(score: EvaluationScore) -> dict[str, Any]:
    return {"type": score.metric, "name": score.metric.upper(), "value": score.final}
