"""How the model was made: inputs, objectives and the whole configuration, to make it again. No row of data."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from finetune_api.contract import RunConfig
from finetune_api.sense import objective_of
from finetune_trainer.publish.card.pictures import LOSS
from finetune_trainer.publish.card.sources import input_rows
from finetune_trainer.publish.card.tables import curve_table, seconds_table, table, version_table
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report

#: Where things run and who may do it: of no use to readers of the card, and names of the cluster's objects.
_NOT_TOLD: dict[str, Any] = {
    "hub": True,
    "buckets": True,
    "publish": {"token_secret", "secret_name"},
    "resources": True,
    "storage": True,
    "schedule": True,
    "pod_template": True,
    "retry": True,
    "suspend": True,
    "active_deadline_seconds": True,
    "stall_timeout_seconds": True,
    "collective_timeout_seconds": True,
    "prepare_timeout_seconds": True,
    "publish_timeout_seconds": True,
    "ttl_seconds_after_finished": True,
    "image": True,
}


def making_parts(
    config: RunConfig, report: Report, manifest: InputsManifest, pictures: Mapping[str, str]
) -> Iterator[str]:
    """Yield the section of training, with the picture of its loss."""
    yield "## Training"
    yield table(("Input", "source", "revision", "rows"), input_rows(config, manifest))
    yield objectives_table(config, manifest)
    if (lora := config.spec.model.lora) is not None:
        yield (
            f"Trained were low-rank adapters (LoRA, rank {lora.rank}, alpha {lora.alpha:g}). They are merged into the "
            "weights: the model loads like any other."
        )
    yield (
        f"{report.steps} of {report.total_steps} steps on {report.world_size} "
        f"process{'es' if report.world_size > 1 else ''}. The configuration, complete:"
    )
    spec = config.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_NOT_TOLD)
    yield f"```yaml\n{as_yaml(spec)}```"
    if LOSS in pictures:
        yield f"![Training loss]({pictures[LOSS]})"
    if report.curve:
        yield curve_table(report.curve, metric=config.spec.evaluation.metric)
    if report.seconds:
        yield seconds_table(report.seconds)
    if report.versions:
        yield version_table(report.versions)
    yield f"Made by finetune-operator, run `{report.run}`."


def objectives_table(config: RunConfig, manifest: InputsManifest) -> str:
    """Return one row per training set: its loss, with Matryoshka dimensions, and its columns in the loss's order."""
    columns = {prepared.name: ", ".join(column.name for column in prepared.columns) for prepared in manifest.train}
    rows = []
    for dataset in config.spec.data.train:
        loss = objective_of(config.spec, dataset)
        sizes = ", ".join(str(size) for size in loss.matryoshka_dimensions)
        rows.append((dataset.name, f"{loss.name}, Matryoshka {sizes}" if sizes else loss.name, columns[dataset.name]))
    return table(("Training set", "loss", "columns"), rows)


def as_yaml(value: dict[str, Any]) -> str:
    """Return YAML in the order of the keys, one line per text."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
