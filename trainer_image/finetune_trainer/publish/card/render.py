"""The README.md of a published model. Equal inputs give equal bytes; no row of the data is in it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from finetune_api.contract import RunConfig
from finetune_trainer.publish.card.making import as_yaml, making_parts
from finetune_trainer.publish.card.metadata import card_metadata, read_metadata
from finetune_trainer.publish.card.results import result_parts, summarise_results
from finetune_trainer.publish.card.sources import base_models, hub_repository
from finetune_trainer.publish.card.usage import truncation_code, usage_code
from finetune_trainer.workspace.manifest import InputsManifest
from finetune_trainer.workspace.report import Report


def render_card(
    config: RunConfig,
    report: Report,
    manifest: InputsManifest,
    *,
    base_cards: Sequence[Path],
    pictures: Mapping[str, str],
) -> str:
    """Return the card: metadata, results, usage, and everything needed to train the model again.

    `base_cards` are those of the base model, or of a router's encoders; they need not be there. `pictures` are paths
    in the repository, by what they show.
    """
    metadata = card_metadata(config, report, manifest, bases=[read_metadata(card) for card in base_cards])
    parts = [
        f"---\n{as_yaml(metadata)}---",
        f"# {_title(config)}",
        _summary(config, report, manifest),
        *result_parts(config, report, pictures),
        *_usage(config, manifest),
        *making_parts(config, report, manifest, pictures),
    ]
    return "\n\n".join(parts) + "\n"


def _title(config: RunConfig) -> str:
    return config.spec.publish.model_name if config.spec.publish else config.job.name


def _summary(config: RunConfig, report: Report, manifest: InputsManifest) -> str:
    kind = "reranker (CrossEncoder)" if config.spec.model.kind == "Reranker" else "embedding model"
    origin = " and ".join(_origin(base.source) for base in base_models(config))
    text = f"A [Sentence Transformers](https://www.sbert.net) {kind}, finetuned from {origin}."
    if (router := config.spec.model.router) is not None:
        what = "queries and documents" if router.by == "Task" else "texts and images"
        text += f" It has encoders of their own for {what}."
    reached = summarise_results(config, report, manifest)
    return f"{text} {reached}" if reached else text


def _origin(source: str) -> str:
    repository = hub_repository(source)
    where = "volume claim" if source.startswith("pvc://") else "bucket"
    return f"`{repository}`" if repository else f"a model of a {where} (`{source}`)"


def _usage(config: RunConfig, manifest: InputsManifest) -> Iterator[str]:
    yield "## Usage"
    yield f"```python\n{usage_code(config, manifest)}\n```"
    if (shorter := truncation_code(config)) is not None:
        yield "Shorter embeddings, for less memory and faster search:"
        yield f"```python\n{shorter}\n```"
    prompts = config.spec.model.prompts
    queries = "pairs" if config.spec.model.kind == "Reranker" else "queries"
    given = {queries: prompts.query, "documents": prompts.document}
    if any(given.values()):
        yield "Instructions that the model puts before its inputs by itself:"
        yield "\n".join(f"- {role}: `{prompt}`" for role, prompt in given.items() if prompt)
