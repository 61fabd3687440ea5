"""NDCG@10 of a published model by its own ranks, with nothing but the library that users load it with."""

from collections.abc import Iterable
from pathlib import Path

import torch
from datasets import Dataset
from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.datasets import EvaluationDataset

Document = str | Image.Image


def ndcg_of_embeddings(model: Path, measured: EvaluationDataset, rows: Dataset) -> float:
    """Embed queries and documents; each row's document is looked for among those of all rows."""
    columns = measured.columns
    assert columns is not None
    documents, answers = number_distinct(rows[columns.positive])
    encoder = SentenceTransformer(str(model), device="cpu")
    scores = encoder.similarity(encoder.encode_query(rows[columns.query]), encoder.encode_document(documents))
    return mean_ndcg(rank(row, answer) for row, answer in zip(scores, answers, strict=True))


def ndcg_of_scores(model: Path, measured: EvaluationDataset, rows: Dataset) -> float:
    """Score each row's document and the others of the row."""
    columns = measured.columns
    assert columns is not None
    (others,) = columns.negatives
    reranker = CrossEncoder(str(model), device="cpu")
    ranks = []
    for row in rows:
        pairs = [(row[columns.query], document) for document in (row[columns.positive], *row[others])]
        ranks.append(rank(reranker.predict(pairs, convert_to_tensor=True, show_progress_bar=False), 0))
    return mean_ndcg(ranks)


def number_distinct(documents: Iterable[Document]) -> tuple[list[Document], list[int]]:
    """Return every document once, and for each of the given ones its place among them."""
    places: dict[bytes, int] = {}
    distinct: list[Document] = []
    numbers = []
    for document in documents:
        content = document.encode() if isinstance(document, str) else document.tobytes()
        if content not in places:
            places[content] = len(distinct)
            distinct.append(document)
        numbers.append(places[content])
    return distinct, numbers


def rank(scores: torch.Tensor, answer: int) -> int:
    """Return the place of the answer, from 1."""
    return 1 + int((scores > scores[answer]).sum())


def mean_ndcg(ranks: Iterable[int]) -> float:
    """Return NDCG@10 of queries with one answer each."""
    gains = [1 / torch.log2(torch.tensor(rank + 1.0)).item() if rank <= 10 else 0.0 for rank in ranks]
    return sum(gains) / len(gains)
