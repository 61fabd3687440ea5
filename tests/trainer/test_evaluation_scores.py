# ruff: noqa: ANN401 - the library's types are imported where a test needs them
"""Every metric equals the library's own evaluator on the very same embeddings or scores, ties included."""

import random
from typing import Any

import numpy as np
import pytest

DIMENSIONS = (64, 16, 4)
LEVELS = pytest.mark.parametrize("levels", [2, 3, 1000], ids=["mostly tied", "many ties", "no ties"])
SIMILARITIES = pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean", "manhattan"])
RETRIEVAL_METRICS = ("ndcg@10", "mrr@10", "recall@10", "map@5", "ndcg@3", "recall@1", "precision@3", "accuracy@7")
RERANKING_METRICS = ("ndcg@10", "mrr@10", "map@100", "ndcg@3", "mrr@1")
PAIR_METRICS = ("ap", "f1", "accuracy", "precision", "recall", "mcc")


class Lookup:
    """Stands where the library wants a model, and answers with given vectors, cut as it asks."""

    def __init__(self, vectors: dict[str, Any], similarity: str) -> None:
        from sentence_transformers.util.similarity import SimilarityFunction

        self.similarity_fn_name = similarity
        self.similarity = SimilarityFunction.to_similarity_fn(similarity)
        self.similarity_pairwise = SimilarityFunction.to_similarity_pairwise_fn(similarity)
        self.vectors = vectors
        self.prompts: dict[str, str] = {}
        self.model_card_data = self

    def encode(self, texts: list[str], *, truncate_dim: int | None = None, **_: object) -> Any:
        import torch

        return torch.stack([self.vectors[text] for text in texts])[:, :truncate_dim]

    encode_query = encode_document = encode

    def set_evaluation_metrics(self, *_: object, **__: object) -> None:
        """Take what evaluators note in model cards."""


class Scorer:
    """Stands where the library wants a reranker, and answers with given scores."""

    num_labels = 1

    def __init__(self, scores: dict[tuple[str, str], float]) -> None:
        self.scores = scores
        self.model_card_data = self

    def predict(self, pairs: list[list[str]], **_: object) -> np.ndarray:
        return np.array([self.scores[query, document] for query, document in pairs], dtype=np.float32)

    def set_evaluation_metrics(self, *_: object, **__: object) -> None:
        """Take what evaluators note in model cards."""


def vectors(names: list[str], *, levels: int) -> dict[str, Any]:
    """Return a vector of few distinct values for each name, so that many scores tie."""
    import torch

    generator = torch.Generator().manual_seed(1)
    values = torch.randint(1, levels, (len(names), DIMENSIONS[0]), generator=generator).float()
    return dict(zip(names, values, strict=True))


def items(names: list[str]) -> Any:
    from finetune_trainer.train.evaluation.dataset import Items

    return Items(ids=names, cells=names, modality="text")


def embeddings_of(model: Lookup, *names: list[str]) -> Any:
    """Return what the encoder would have made of the queries and of the documents."""
    from finetune_trainer.train.evaluation.encode import Embeddings, Encoded
    from finetune_trainer.train.evaluation.held import Held
    from finetune_trainer.train.evaluation.shares import Shares
    from finetune_trainer.train.gang.ranks import Ranks

    roles = dict(zip(("query", "document"), names, strict=True))
    encoded: Any = {
        (role, "text"): Encoded(
            {cell: row for row, cell in enumerate(cells)},
            Held.of([range(len(cells))], model.encode(cells), Ranks()),
        )
        for role, cells in roles.items()
    }
    return Embeddings(model, encoded, Shares(Ranks(), batch_size=16))


def pair_scores_of(model: Scorer) -> Any:
    from finetune_trainer.train.evaluation.pairs import PairScores

    pairs = list(model.scores)
    rows: Any = {(query, "text", document, "text"): row for row, (query, document) in enumerate(pairs)}
    return PairScores(rows, model.predict([list(pair) for pair in pairs]))


@LEVELS
@SIMILARITIES
def test_information_retrieval_equals_the_library_in_every_dimension(similarity: str, levels: int) -> None:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from finetune_trainer.train.evaluation.dataset import RetrievalSet
    from finetune_trainer.train.evaluation.score import score

    queries, documents = [f"q{n}" for n in range(23)], [f"d{n}" for n in range(111)]
    model = Lookup(vectors(queries + documents, levels=levels), similarity)
    rng = random.Random(0)
    relevant = {query: set(rng.sample(documents, rng.randint(1, 4))) for query in queries}
    dataset = RetrievalSet("set", items(queries), items(documents), relevant)
    seen = embeddings_of(model, queries, documents)

    for dimension in DIMENSIONS:
        library = InformationRetrievalEvaluator(
            dict(zip(queries, queries, strict=True)),
            dict(zip(documents, documents, strict=True)),
            relevant,
            truncate_dim=dimension,
            ndcg_at_k=[3, 10],
            mrr_at_k=[10],
            map_at_k=[5],
            accuracy_at_k=[7],
            precision_recall_at_k=[1, 3, 10],
        )(model)

        ours = score(dataset, seen, RETRIEVAL_METRICS, dimension=dimension)

        assert ours.values == pytest.approx({metric: library[f"{similarity}_{metric}"] for metric in RETRIEVAL_METRICS})
        assert np.mean(ours.sample.values) == pytest.approx(library[f"{similarity}_ndcg@10"])


@LEVELS
def test_a_query_that_is_a_document_is_ranked_as_if_it_were_none(levels: int) -> None:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from finetune_trainer.train.evaluation.dataset import RetrievalSet
    from finetune_trainer.train.evaluation.score import score

    names = [f"d{n}" for n in range(40)]
    model = Lookup(vectors(names, levels=levels), "dot")  # which no size of a batch rounds in another way
    rng = random.Random(0)
    relevant = {query: set(rng.sample(names[10:], 2)) for query in names[:10]} | {"d11": {"d11", "d12"}}
    dataset = RetrievalSet("set", items(list(relevant)), items(names), relevant)

    ours = score(dataset, embeddings_of(model, list(relevant), names), RETRIEVAL_METRICS)

    alone = [
        InformationRetrievalEvaluator(
            {query: query},
            {name: name for name in names if name != query or name in answers},
            {query: answers},
            ndcg_at_k=[3, 10],
            mrr_at_k=[10],
            map_at_k=[5],
            accuracy_at_k=[7],
            precision_recall_at_k=[1, 3, 10],
        )(model)
        for query, answers in relevant.items()
    ]
    expected = {metric: np.mean([one[f"dot_{metric}"] for one in alone]) for metric in RETRIEVAL_METRICS}
    assert ours.values == pytest.approx(expected)


def reranking(*, ranked: bool) -> tuple[list[str], list[str], list[dict[str, Any]], Any]:
    """Return queries, documents, the library's samples, and the same as a set of ours."""
    from finetune_trainer.train.evaluation.dataset import Candidates, RerankingSet

    rng = random.Random(0)
    queries, documents = [f"q{n}" for n in range(40)], [f"d{n}" for n in range(60)]
    samples, candidates = [], []
    for query in queries:
        given = rng.sample(documents, rng.randint(4, 30))
        positive = [one for one in given[:-1] if rng.random() < 0.3] or given[-1:]
        rest = {"documents": given} if ranked else {"negative": [one for one in given if one not in positive]}
        samples.append({"query": query, "positive": positive, **rest})
        rows = [documents.index(one) for one in sorted(given, key=lambda one: one not in positive)]
        is_right = np.array([one in positive for one in given], dtype=int)
        candidates.append(Candidates(rows, num_relevant=len(positive), given=is_right))
    return queries, documents, samples, RerankingSet("set", items(queries), items(documents), candidates, ranked=ranked)


@LEVELS
@SIMILARITIES
def test_reranking_by_embeddings_equals_the_library_in_every_dimension(similarity: str, levels: int) -> None:
    from sentence_transformers.sentence_transformer.evaluation import RerankingEvaluator

    from finetune_trainer.train.evaluation.score import score

    queries, documents, samples, dataset = reranking(ranked=False)
    model = Lookup(vectors(queries + documents, levels=levels), similarity)
    seen = embeddings_of(model, queries, documents)

    for dimension in DIMENSIONS:
        library: dict[str, float] = {}
        for k in (10, 3, 1):
            library |= RerankingEvaluator(samples, at_k=k, similarity_fct=model.similarity, truncate_dim=dimension)(
                model
            )

        ours = score(dataset, seen, RERANKING_METRICS, dimension=dimension)

        assert ours.values == pytest.approx({metric: library[metric.removesuffix("@100")] for metric in ours.values})
        assert np.mean(ours.sample.values) == pytest.approx(library["ndcg@10"])


@LEVELS
@pytest.mark.parametrize("ranked", [False, True], ids=["negatives", "candidates in an order"])
def test_reranking_by_a_reranker_equals_the_library_with_and_without_given_candidates(
    levels: int, *, ranked: bool
) -> None:
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

    from finetune_trainer.train.evaluation.score import score

    queries, documents, samples, dataset = reranking(ranked=ranked)
    rng = random.Random(1)
    model = Scorer({(query, document): rng.randrange(1, levels) / 7 for query in queries for document in documents})
    library: dict[str, float] = {}
    for k in (10, 3, 1):
        library |= CrossEncoderRerankingEvaluator(samples, at_k=k)(model)

    ours = score(dataset, pair_scores_of(model), RERANKING_METRICS)

    assert len(ours.values) == (10 if ranked else 5)
    assert ours.values == pytest.approx({metric: library[metric.removesuffix("@100")] for metric in ours.values})


def test_map_is_cut_after_k_candidates_as_in_information_retrieval() -> None:
    from finetune_trainer.train.evaluation.ranking import rank

    ranking = rank(np.array([5.0, 4.0, 3.0, 2.0]), np.array([1, 0, 1, 1]), order=range(4))

    assert ranking.measure("map@2") == pytest.approx((1 / 1) / 2)
    assert ranking.measure("map@3") == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert ranking.measure("map@4") == ranking.measure("map@100") == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)


@LEVELS
@SIMILARITIES
def test_triplets_equal_the_library_in_every_dimension(similarity: str, levels: int) -> None:
    from sentence_transformers.sentence_transformer.evaluation import TripletEvaluator

    from finetune_trainer.train.evaluation.dataset import TripletSet
    from finetune_trainer.train.evaluation.score import score

    queries, documents = [f"q{n}" for n in range(50)], [f"d{n}" for n in range(100)]
    model = Lookup(vectors(queries + documents, levels=levels), similarity)
    dataset = TripletSet("set", items(queries), items(documents[:50]), items(documents[50:]))
    seen = embeddings_of(model, queries, documents)

    for dimension in DIMENSIONS:
        library = TripletEvaluator(queries, documents[:50], documents[50:], truncate_dim=dimension)(model)

        ours = score(dataset, seen, ("accuracy",), dimension=dimension)

        assert ours.values == pytest.approx({"accuracy": library[f"{similarity}_accuracy"]})
        assert sum(ours.sample.values) == pytest.approx(50 * library[f"{similarity}_accuracy"])


def pairs(*, labels: np.ndarray) -> tuple[list[str], list[str], Any]:
    from finetune_trainer.train.evaluation.dataset import PairSet

    queries, documents = [f"q{n}" for n in range(len(labels))], [f"d{n}" for n in range(len(labels))]
    return queries, documents, PairSet("set", items(queries), items(documents), labels)


def draw_labels(*, levels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(levels, size=80).astype(float)


@LEVELS
@SIMILARITIES
def test_similarities_equal_the_library_for_both_kinds_of_model(similarity: str, levels: int) -> None:
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderCorrelationEvaluator
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    from finetune_trainer.train.evaluation.score import score

    queries, documents, dataset = pairs(labels=draw_labels(levels=5))
    model = Lookup(vectors(queries + documents, levels=max(levels, 3)), similarity)
    scores = np.random.default_rng(1).integers(levels, size=80) / 3
    reranker = Scorer(dict(zip(zip(queries, documents, strict=True), scores, strict=True)))

    for dimension in DIMENSIONS:
        library = EmbeddingSimilarityEvaluator(queries, documents, list(dataset.labels), truncate_dim=dimension)(model)
        ours = score(dataset, embeddings_of(model, queries, documents), ("spearman", "pearson"), dimension=dimension)
        assert ours.values == pytest.approx(
            {metric: library[f"{metric}_{similarity}"] for metric in ours.values}, abs=1e-6
        )

    library = CrossEncoderCorrelationEvaluator(list(zip(queries, documents, strict=True)), list(dataset.labels))(
        reranker
    )
    assert score(dataset, pair_scores_of(reranker), ("spearman", "pearson")).values == pytest.approx(library, abs=1e-6)


@LEVELS
@SIMILARITIES
def test_binary_classification_equals_the_library_for_both_kinds_of_model(similarity: str, levels: int) -> None:
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderClassificationEvaluator
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator

    from finetune_trainer.train.evaluation.score import score

    queries, documents, dataset = pairs(labels=draw_labels(levels=2))
    labels = [int(label) for label in dataset.labels]
    model = Lookup(vectors(queries + documents, levels=levels), similarity)
    scores = np.random.default_rng(1).integers(levels, size=80) / 3
    reranker = Scorer(dict(zip(zip(queries, documents, strict=True), scores, strict=True)))

    for dimension in DIMENSIONS:
        library = BinaryClassificationEvaluator(queries, documents, labels, truncate_dim=dimension)(model)
        ours = score(dataset, embeddings_of(model, queries, documents), PAIR_METRICS, dimension=dimension)
        assert ours.values == pytest.approx(
            {metric: library[f"{similarity}_{metric}"] for metric in PAIR_METRICS}, abs=1e-6
        )

    library = CrossEncoderClassificationEvaluator(list(zip(queries, documents, strict=True)), labels)(reranker)
    ours = score(dataset, pair_scores_of(reranker), PAIR_METRICS[:-1])
    library["ap"] = library["average_precision"]
    assert ours.values == pytest.approx({metric: library[metric] for metric in ours.values}, abs=1e-6)


def test_a_metric_that_the_rows_leave_undefined_is_zero() -> None:
    from finetune_trainer.train.evaluation.statistics import measure

    ones, rising = np.ones(8), np.arange(8.0)

    correlations = [measure(metric, labels=rising, scores=ones) for metric in ("spearman", "pearson")]
    without_positives = [measure(metric, labels=ones * 0, scores=rising) for metric in ("ap", "f1", "recall", "mcc")]

    assert correlations == [0, 0]
    assert without_positives == [0, 0, 0, 0]
    assert measure("accuracy", labels=ones * 0, scores=rising) == 1
