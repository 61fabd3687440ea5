"""How to load and use the published model, as code that runs."""

from finetune_api.contract import RunConfig
from finetune_trainer.data.manifest import InputsManifest, Modality

_EXAMPLES: dict[Modality, tuple[str, str]] = {
    "text": ('"first text"', '"second text"'),
    "image": ('"first.png"', '"second.png"'),
}


def usage_code(config: RunConfig, manifest: InputsManifest) -> str:
    """Return a Python program: load, encode queries and documents, compare.

    Images are given by path; the program expects files of these names.
    """
    modalities = {column.name: column.modality for column in manifest.train.columns}
    repository = config.spec.publish.repository if config.spec.publish else "PATH"
    query, document = _EXAMPLES[modalities["query"]], _EXAMPLES[modalities["positive"]]
    return "\n".join(
        [
            "from sentence_transformers import SentenceTransformer",
            "",
            f'model = SentenceTransformer("{repository}")',
            f"queries = model.encode_query([{query[0]}])",
            f"documents = model.encode_document([{document[0]}, {document[1]}])",
            "print(model.similarity(queries, documents))",
        ]
    )


def truncation_code(config: RunConfig) -> str | None:
    """Return how to load the model with shorter embeddings, None if it was not trained for them."""
    dimensions = config.spec.training.loss.matryoshka_dimensions
    if len(dimensions) <= 1:
        return None
    repository = config.spec.publish.repository if config.spec.publish else "PATH"
    return f'model = SentenceTransformer("{repository}", truncate_dim={dimensions[len(dimensions) // 2]})'
