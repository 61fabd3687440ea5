"""Where models and data came from."""

from collections.abc import Iterator

from finetune_api.contract import RunConfig
from finetune_api.sense import evaluation_sets
from finetune_api.sources import HubSource, parse_source
from finetune_api.types import NamedSource, named_models
from finetune_trainer.workspace.manifest import InputsManifest

_BASE = "spec.model"
_ROUTE = "spec.model.router.routes."


def hub_repository(source: str) -> str | None:
    """Return `owner/name` of an `hf://` source, None for a volume claim."""
    parsed = parse_source(source)
    return parsed.repository if isinstance(parsed, HubSource) else None


def base_models(config: RunConfig) -> list[NamedSource]:
    """Return the base model, or the encoders of its router."""
    return [model for model in named_models(config.spec) if model.path == _BASE or model.path.startswith(_ROUTE)]


def dataset_sources(config: RunConfig) -> dict[str, str]:
    """Return the source of every dataset by its name."""
    train = {dataset.name: dataset.source for dataset in config.spec.data.train}
    return train | {dataset.name: dataset.source for dataset in evaluation_sets(config.spec).values()}


def input_rows(config: RunConfig, manifest: InputsManifest) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, source, revision and rows of everything that the training was given."""
    for model in named_models(config.spec):
        yield _part(model), model.source, _revision(model, manifest), ""
    sources = dataset_sources(config)
    for dataset in manifest.datasets:
        yield dataset.name, sources.get(dataset.name, ""), dataset.revision or "", str(dataset.rows)


def _part(model: NamedSource) -> str:
    if model.path == _BASE:
        return "base model"
    if model.path.startswith(_ROUTE):
        return f"encoder of the route {model.path.removeprefix(_ROUTE)}"
    return "miner of negatives" if model.path.endswith(".mineNegatives") else "guide"


def _revision(model: NamedSource, manifest: InputsManifest) -> str:
    """Return the commit that prepare found; of models whose commits it does not keep, the revision of the spec."""
    found = manifest.model.revision or ""
    if model.path == _BASE:
        return found
    # Of routes it keeps one text: each name with the beginning of its commit.
    routes = dict(part.split(" ", 1) for part in found.split(", ") if " " in part)
    return routes.get(model.path.removeprefix(_ROUTE), model.revision)
