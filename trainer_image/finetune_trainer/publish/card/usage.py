"""How to load and use the published model, as code that runs."""

from collections.abc import Sequence

from finetune_api.contract import RunConfig
from finetune_api.sense import objective_of
from finetune_trainer.recipe.metrics import trained_dimensions
from finetune_trainer.workspace.manifest import Column, InputsManifest, Modality

_QUERIES: dict[Modality, str] = {"text": '"a question"', "image": '"question.png"'}
_DOCUMENTS: dict[Modality, tuple[str, str]] = {
    "text": ('"first text"', '"second text"'),
    "image": ('"first.png"', '"second.png"'),
}


def usage_code(config: RunConfig, manifest: InputsManifest) -> str:
    """Return a Python program: load, encode queries and documents and compare; or score pairs and rank documents.

    Images are given by path; the program expects files of these names.
    """
    query, document = modalities(manifest.train[0].columns)
    lines = _rank if config.spec.model.kind == "Reranker" else _compare
    return "\n".join(lines(config, _QUERIES[query], _DOCUMENTS[document]))


def truncation_code(config: RunConfig) -> str | None:
    """Return how to load the model with shorter embeddings, None if it was not trained for them."""
    dimensions = trained_dimensions(config.spec)
    if len(dimensions) <= 1:
        return None
    return f'model = SentenceTransformer("{repository(config)}", truncate_dim={dimensions[len(dimensions) // 2]})'


def modalities(columns: Sequence[Column]) -> tuple[Modality, Modality]:
    """Return what queries and documents are; rows of single documents have no queries of their own."""
    by_name = {column.name: column.modality for column in columns}
    document = next(by_name[name] for name in ("positive", "document", "documents") if name in by_name)
    return by_name.get("query", document), document


def repository(config: RunConfig) -> str:
    """Return where the model is loaded from."""
    return (config.spec.publish.repository if config.spec.publish else None) or "PATH"


def _compare(config: RunConfig, query: str, documents: tuple[str, str]) -> list[str]:
    return [
        "from sentence_transformers import SentenceTransformer",
        "",
        f'model = SentenceTransformer("{repository(config)}")',
        f"queries = model.encode_query([{query}])",
        f"documents = model.encode_document([{', '.join(documents)}])",
        "print(model.similarity(queries, documents))",
    ]


def _rank(config: RunConfig, query: str, documents: tuple[str, str]) -> list[str]:
    pairs = ", ".join(f"({query}, {document})" for document in documents)
    lines = [
        "from sentence_transformers import CrossEncoder",
        "",
        f'model = CrossEncoder("{repository(config)}")',
        f"print(model.predict([{pairs}]))",
    ]
    if gives_classes(config):
        return lines
    return [*lines, f"print(model.rank({query}, [{', '.join(documents)}]))"]


def gives_classes(config: RunConfig) -> bool:
    """Say whether a reranker was trained to tell classes, so that it has no one score to rank by."""
    spec = config.spec
    names = {objective_of(spec, dataset).name for dataset in spec.data.train}
    return spec.model.num_labels not in (None, 1) or "CrossEntropyLoss" in names
