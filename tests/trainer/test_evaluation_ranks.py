"""Embeddings that lie on several ranks score as in one process, ties across ranks included, and none holds them all."""

import random
from typing import Any

import numpy as np
import pytest

from tests.trainer.gang import start_gang
from tests.trainer.test_evaluation_scores import (
    PAIR_METRICS,
    RERANKING_METRICS,
    RETRIEVAL_METRICS,
    Lookup,
    draw_labels,
    items,
    pairs,
    reranking,
    vectors,
)
from tests.trainer.train_inputs import run_config

QUERIES, DOCUMENTS = [f"q{n}" for n in range(80)], [f"d{n}" for n in range(111)]
DIMENSIONS = (None, 16, 4)
#: Of which no sum is rounded, so that what ties in one place ties in any.
SIMILARITY = "dot"


def sets_and_metrics() -> list[tuple[Any, tuple[str, ...]]]:
    from finetune_trainer.train.evaluation.dataset import RetrievalSet, TripletSet

    rng = random.Random(0)
    relevant = {query: set(rng.sample(DOCUMENTS, rng.randint(1, 4))) for query in QUERIES}
    documents = items(DOCUMENTS)
    # Documents that are asked for themselves are left out of their own ranking.
    itself = {name: set(rng.sample(DOCUMENTS[20:], 2)) for name in DOCUMENTS[:20]}
    few = {query: {"d1"} for query in QUERIES}
    triplets = TripletSet("triplets", items(QUERIES), items(DOCUMENTS[:80]), items(DOCUMENTS[31:]))
    return [
        (RetrievalSet("retrieval", items(QUERIES), documents, relevant), RETRIEVAL_METRICS),
        (RetrievalSet("themselves", items(DOCUMENTS[:20]), documents, itself), RETRIEVAL_METRICS),
        (RetrievalSet("fewer than ranks", items(QUERIES), items(DOCUMENTS[:3]), few), RETRIEVAL_METRICS),
        (reranking(ranked=False)[-1], RERANKING_METRICS),
        (triplets, ("accuracy",)),
        (pairs(labels=draw_labels(levels=2))[-1], PAIR_METRICS),
    ]


def score_on_rank(levels: int, world_size: int) -> dict[str, Any]:
    """Score all sets of embeddings of which each rank holds every n-th; return what was found, and what it held."""
    from finetune_trainer.train.evaluation import encode, retrieval
    from finetune_trainer.train.evaluation.encode import Embeddings, Encoded
    from finetune_trainer.train.evaluation.held import Held
    from finetune_trainer.train.evaluation.score import score
    from finetune_trainer.train.evaluation.shares import Shares
    from finetune_trainer.train.gang.ranks import Ranks, join

    for module, name, size in ((encode, "QUERIES_AT_ONCE", 7), (retrieval, "DOCUMENTS_AT_ONCE", 13)):
        setattr(module, name, size if world_size > 1 else 1000)
    ranks = join(run_config()) if world_size > 1 else Ranks()
    model = Lookup(vectors([*QUERIES, *DOCUMENTS], levels=levels), SIMILARITY)
    encoded: Any = {}
    for role, cells in (("query", [*QUERIES, *DOCUMENTS]), ("document", DOCUMENTS)):
        rows = list(range(len(cells)))
        random.Random(1).shuffle(rows)  # as texts are dealt out by their lengths
        mine = model.encode([cells[row] for row in rows[ranks.rank :: world_size]])
        held = Held.of([rows], mine, ranks)
        encoded[role, "text"] = Encoded({cell: row for row, cell in enumerate(cells)}, held)
    ticks: list[int] = []
    seen = Embeddings(model, encoded, Shares(ranks, batch_size=16, on_batch=lambda: ticks.append(1)))
    found = [
        score(dataset, seen, metrics, dimension=dimension)
        for dataset, metrics in sets_and_metrics()
        for dimension in DIMENSIONS
    ]
    return {"found": found, "held": len(encoded["document", "text"].held.rows_MD), "ticks": len(ticks)}


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("levels", [2, 3, 1000], ids=["all tied", "many ties", "no ties"])
def test_ranks_find_what_one_process_finds_also_where_documents_of_several_ranks_tie(
    levels: int, world_size: int
) -> None:
    alone = score_on_rank(levels, 1)

    shared = start_gang(score_on_rank, levels, world_size, world_size=world_size).results()

    assert [one["found"] for one in shared] == [alone["found"]] * world_size
    assert sum(one["held"] for one in shared) == alone["held"] == len(DOCUMENTS)
    assert max(one["held"] for one in shared) == -(-len(DOCUMENTS) // world_size)
    assert len({one["ticks"] for one in shared}) == 1


@pytest.mark.parametrize("levels", [2, 4, 1000], ids=["all tied", "many ties", "no ties"])
@pytest.mark.parametrize("k", [1, 10, 49, 50, 200])
def test_the_best_of_parts_are_the_best_of_all_by_score_and_then_by_id(levels: int, k: int) -> None:
    import torch

    from finetune_trainer.train.evaluation.top_k import best_of, join

    rng = np.random.default_rng(0)
    scores_QN, order_N = rng.integers(1, levels, (8, 100)).astype(np.float32), rng.permutation(100)  # noqa: N806
    expected = [sorted(zip(-row, order_N, strict=True))[:k] for row in scores_QN]

    parts = [
        best_of(torch.from_numpy(scores_QN[:, part]), torch.from_numpy(order_N[part]), k)
        for part in (slice(50), slice(50, 52), slice(52, 100))
    ]
    best = join(parts).cut(k)

    found = [
        list(zip(-scores, order, strict=True))
        for scores, order in zip(best.scores_QK.numpy(), best.order_QK.numpy(), strict=True)
    ]
    assert found == expected


def test_rounds_cost_alike_and_each_rank_has_as_many() -> None:
    from finetune_trainer.train.evaluation.shares import Shares, longest_first
    from finetune_trainer.train.gang.ranks import Ranks

    lengths = [400, 5000, 10, 10, 900, 1000, 10, 300, 10, 10]
    order = longest_first(lengths)

    rounds = Shares(Ranks(world_size=2), batch_size=16).texts_in_rounds(order, lengths)

    assert [[lengths[row] for row in one] for one in rounds] == [[5000, 1000], [900, 400, 300, 10, 10, 10, 10, 10]]
    assert sorted(row for one in rounds for row in one) == list(range(10))
    assert Shares(Ranks(world_size=2), batch_size=2).in_rounds(range(7)) == [range(4), range(4, 7)]


def test_a_long_evaluation_is_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    from finetune_trainer.train.evaluation.shares import LOG_SECONDS, Progress

    progress = Progress("documents", total=1000)
    with caplog.at_level("INFO"):
        progress.add(16)
        progress.told -= LOG_SECONDS
        progress.add(16)
        progress.add(16)

    told = [(one.msg, vars(one)["what"], vars(one)["done"], vars(one)["total"]) for one in caplog.records]
    assert told == [("evaluating", "documents", 32, 1000)]
