"""Loads a published model from the Hub as any user would, and evaluates it with the library's own evaluator.

Run as a program, because HF_ENDPOINT counts from the first import of huggingface_hub:
`python -m tests.demo.published_model MODEL DATASET TABLES|ROWS` prints the scores as JSON.
"""

import json
import sys
from typing import Any

METRICS = {"ndcg@10": "ndcg_at_k", "mrr@10": "mrr_at_k", "recall@10": "precision_recall_at_k"}


def evaluate(model_repository: str, dataset_repository: str, layout: str) -> dict[str, float]:
    """Return NDCG@10, MRR@10 and recall@10 of the model on the dataset's held-out queries."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    model = SentenceTransformer(model_repository, device="cpu")
    queries, corpus, relevant = (_tables if layout == "TABLES" else _rows)(dataset_repository)
    at_ten: dict[str, Any] = {option: [10] for option in METRICS.values()}
    evaluator = InformationRetrievalEvaluator(
        queries, corpus, relevant, name="held-out", batch_size=16, accuracy_at_k=[10], map_at_k=[10], **at_ten
    )
    scores = evaluator(model)
    return {metric: float(scores[f"held-out_cosine_{metric}"]) for metric in METRICS}


def _rows(repository: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, set[str]]]:
    """Return queries, corpus and relevant documents of rows of query and image."""
    from datasets import load_dataset

    rows = load_dataset(repository, split="eval")
    ids = [str(index) for index in range(len(rows))]
    queries = dict(zip(ids, rows["query"], strict=True))
    corpus = dict(zip(ids, list(rows["image"]), strict=True))
    return queries, corpus, {index: {index} for index in ids}


def _tables(repository: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, set[str]]]:
    """Return queries, corpus and relevant documents of a dataset in three tables."""
    from datasets import load_dataset

    queries, corpus, pairs = (
        load_dataset(repository, name, split="test") for name in ("queries", "corpus", "relevant")
    )
    relevant: dict[str, set[str]] = {}
    for row in pairs:
        relevant.setdefault(row["query_id"], set()).add(row["corpus_id"])
    return {r["id"]: r["text"] for r in queries}, {r["id"]: r["text"] for r in corpus}, relevant


if __name__ == "__main__":
    print(json.dumps(evaluate(*sys.argv[1:])))
