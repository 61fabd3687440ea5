"""prepare: every evaluation set becomes the tables that its evaluator takes."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from finetune_api.evaluators import Evaluator
from finetune_api.reasons import Reason
from finetune_trainer.workspace.manifest import PreparedEvaluation
from tests.trainer.conftest import MakeRun, Run, write_jsonl
from tests.trainer.laying_out import lay_out, read, read_evaluation, text_run, told

COLUMNS = {"query": "q", "positive": "good", "negatives": ["bad"]}
LISTS = {"query": "q", "documents": "docs", "label": "scores"}
PAIRS = {"query": "q", "document": "d", "label": "score"}


def evaluation_run(
    make_run: MakeRun,
    claim: Path,
    rows: list[dict[str, Any]],
    **held_out: Any,  # noqa: ANN401 - fields of a dataset as YAML has them
) -> Run:
    """Return a run with the evaluation set `held-out` of `rows`."""
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a"}])
    write_jsonl(claim / "held-out" / "test.jsonl", rows)
    return text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/held-out", **held_out}])


def candidates(run: Run) -> list[tuple[str, str]]:
    """Return the candidates as texts of query and document."""
    queries, corpus, _ = read_evaluation(run, "held-out")
    pairs = read(run.workspace.evaluation_folder("held-out") / "candidates.parquet")
    return [(queries[pair["query_id"]], corpus[pair["corpus_id"]]) for pair in pairs]


def relevant(run: Run) -> list[tuple[str, str]]:
    """Return the relevant pairs as texts of query and document."""
    queries, corpus, pairs = read_evaluation(run, "held-out")
    return [(queries[query], corpus[document]) for query, document in pairs]


def plain_rows(run: Run) -> list[dict[str, Any]]:
    folder = run.workspace.evaluation_folder("held-out")
    assert [path.name for path in folder.iterdir()] == ["rows.parquet"]
    return read(folder / "rows.parquet")


def test_lists_of_answers_and_others_become_relevant_pairs_and_corpus(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "good": ["a", "b"], "bad": ["x"]}, {"q": "two", "good": ["x"], "bad": []}]
    run = evaluation_run(make_run, claim, rows, columns=COLUMNS)

    found = lay_out(run)

    assert relevant(run) == [("one", "a"), ("one", "b"), ("two", "x")]
    assert found.evaluations == [
        PreparedEvaluation(name="held-out", query_modality="text", corpus_modality="text", queries=2, documents=3)
    ]
    assert not (run.workspace.evaluation_folder("held-out") / "candidates.parquet").exists()


def test_a_reranking_set_of_answers_and_others_has_candidates_per_query(make_run: MakeRun, claim: Path) -> None:
    rows = [
        {"q": "one", "good": ["a"], "bad": ["x", "y"]},
        {"q": "two", "good": ["b", "c"], "bad": ["x", "b"]},
        {"q": "one", "good": ["y"], "bad": ["z"]},
    ]
    run = evaluation_run(make_run, claim, rows, columns=COLUMNS, evaluator="Reranking")

    found = lay_out(run)

    assert candidates(run) == [
        ("one", "a"),
        ("one", "x"),
        ("one", "y"),
        ("two", "b"),
        ("two", "c"),
        ("two", "x"),
        ("one", "z"),
    ]
    assert relevant(run) == [("one", "a"), ("two", "b"), ("two", "c"), ("one", "y")]
    assert found.evaluations == [
        PreparedEvaluation(
            name="held-out",
            evaluator=Evaluator.RERANKING,
            query_modality="text",
            corpus_modality="text",
            queries=2,
            documents=6,
        )
    ]


def test_a_reranking_set_of_lists_takes_labels_above_0_for_relevant(make_run: MakeRun, claim: Path) -> None:
    rows = [
        {"q": "one", "docs": ["a", "b", "c"], "scores": [2.0, 0.0, -1.0]},
        {"q": "nothing relevant", "docs": ["a", "b"], "scores": [0.0, 0.0]},
        {"q": "all relevant", "docs": ["d", "e"], "scores": [1.0, 1.0]},
    ]
    run = evaluation_run(make_run, claim, rows, columns=LISTS, evaluator="Reranking")

    found = lay_out(run)

    assert candidates(run) == [("one", "a"), ("one", "b"), ("one", "c")]
    assert relevant(run) == [("one", "a")]
    assert (found.evaluations[0].queries, found.evaluations[0].documents) == (1, 3)
    assert found.warnings == [
        "spec.data.evaluation[0]: dataset held-out: 2 queries lack relevant or other documents; they are left out"
    ]


def test_a_reranking_set_without_anything_to_rank_is_refused(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "docs": ["a", "b"], "scores": [1.0, 1.0]}]

    assert told(evaluation_run(make_run, claim, rows, columns=LISTS, evaluator="Reranking")) == (
        Reason.EMPTY_DATASET,
        "spec.data.evaluation[0]: dataset held-out: no query has both a relevant document and another",
    )


def test_labels_that_are_not_one_per_candidate_make_a_bad_row(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "docs": ["a", "b"], "scores": [1.0]}, {"q": "two", "docs": ["a", "b"], "scores": [1.0, 0.0]}]

    _, message = told(evaluation_run(make_run, claim, rows, columns=LISTS, evaluator="Reranking"))

    assert "row 0: label: 1 numbers for 2 documents" in message


def test_triplets_are_each_answer_with_each_other_document(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "good": ["a", "b"], "bad": ["x", "y"]}, {"q": "two", "good": ["c"], "bad": ["z"]}]
    run = evaluation_run(make_run, claim, rows, columns=COLUMNS, evaluator="Triplet")

    found = lay_out(run)

    assert [tuple(row.items()) for row in plain_rows(run)] == [
        (("query", query), ("positive", positive), ("negative", negative))
        for query, positive, negative in [
            ("one", "a", "x"),
            ("one", "a", "y"),
            ("one", "b", "x"),
            ("one", "b", "y"),
            ("two", "c", "z"),
        ]
    ]
    assert found.evaluations == [
        PreparedEvaluation(
            name="held-out",
            evaluator=Evaluator.TRIPLET,
            query_modality="text",
            corpus_modality="text",
            queries=5,
            documents=5,
        )
    ]
    assert found.datasets[1].rows == 2


@pytest.mark.parametrize(
    ("evaluator", "scores", "kind"),
    [("EmbeddingSimilarity", [0.5, 3], "double"), ("BinaryClassification", [1.0, 0.0], "int64")],
)
def test_labeled_pairs_stay_rows(
    make_run: MakeRun, claim: Path, evaluator: str, scores: list[float], kind: str
) -> None:
    rows = [{"q": f"q{i}", "d": f"d{i}", "score": score} for i, score in enumerate(scores)]
    run = evaluation_run(make_run, claim, rows, columns=PAIRS, evaluator=evaluator)

    found = lay_out(run)

    assert plain_rows(run) == [
        {"query": f"q{i}", "document": f"d{i}", "label": score} for i, score in enumerate(scores)
    ]
    assert str(pq.read_schema(run.workspace.evaluation_folder("held-out") / "rows.parquet").field("label").type) == kind
    assert (found.evaluations[0].evaluator, found.evaluations[0].queries) == (evaluator, 2)


def test_labels_of_pairs_that_are_neither_0_nor_1_make_a_bad_row(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "d": "a", "score": 0.5}, {"q": "two", "d": "b", "score": 1.0}]

    _, message = told(evaluation_run(make_run, claim, rows, columns=PAIRS, evaluator="BinaryClassification"))

    assert "row 0: label: label is neither 0 nor 1" in message


def test_pairs_with_a_score_of_0_or_less_are_not_relevant(make_run: MakeRun, claim: Path) -> None:
    tables: dict[str, list[dict[str, Any]]] = {
        "queries": [{"id": "1", "text": "first"}, {"id": "2", "text": "second"}],
        "corpus": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}],
        "qrels": [
            {"query_id": query, "corpus_id": document, "grade": grade}
            for query, document, grade in [("1", "a", 2), ("1", "b", 0), ("2", "b", -1)]
        ],
    }
    run = evaluation_run(
        make_run,
        claim,
        [],
        tables={
            "queries": {"subset": "queries", "split": "test"},
            "corpus": {"subset": "corpus", "split": "test"},
            "relevantDocuments": {"subset": "qrels", "split": "test", "score": "grade"},
        },
    )
    (claim / "held-out" / "test.jsonl").unlink()
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}.jsonl\n" for name in tables
    )
    (claim / "held-out" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for name, rows in tables.items():
        write_jsonl(claim / "held-out" / f"{name}.jsonl", rows)

    found = lay_out(run)

    assert relevant(run) == [("first", "A")]
    assert found.warnings == [
        "spec.data.evaluation[0].tables.relevantDocuments: dataset held-out: 1 queries have no relevant document; they "
        "are left out"
    ]


def test_tables_of_an_earlier_attempt_do_not_stay(make_run: MakeRun, claim: Path) -> None:
    run = evaluation_run(
        make_run,
        claim,
        [{"q": "one", "d": "a", "score": 1}, {"q": "one", "d": "b", "score": 0}],
        columns=PAIRS,
        evaluator="BinaryClassification",
    )
    folder = run.workspace.evaluation_folder("held-out")
    folder.mkdir(parents=True)
    (folder / "queries.parquet").write_bytes(b"left over")

    lay_out(run)

    assert [path.name for path in folder.iterdir()] == ["rows.parquet"]


def test_pairs_of_every_kind_of_evaluation_are_held_out(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": f"q{i}", "answer": f"a{i}"} for i in range(4)])
    sets: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "triplets": ("Triplet", COLUMNS, {"q": "q0", "good": "a0", "bad": "a1"}),
        "pairs": ("EmbeddingSimilarity", PAIRS, {"q": "q1", "d": "a1", "score": 0.1}),
        "lists": ("Reranking", LISTS, {"q": "q2", "docs": ["a2", "a3"], "scores": [1.0, 0.0]}),
    }
    for name, (_, _, row) in sets.items():
        other = {"q": "other", "d": "document", "score": 0.2} if name == "pairs" else row
        write_jsonl(claim / name / "test.jsonl", [row, other])
    evaluation = [
        {"name": name, "source": f"pvc://inputs/{name}", "evaluator": evaluator, "columns": columns}
        for name, (evaluator, columns, _) in sets.items()
    ]

    found = lay_out(text_run(make_run, evaluation=evaluation))

    assert found.warnings == [
        f"spec.data.train[0]: dataset qa: 1 rows are also held-out pairs of the evaluation set {name}, for example "
        f"row {number}, so its scores will be too good; take them out of one of the two"
        for number, name in enumerate(sets)
    ]


SIMILARITY, CLASSES = "EmbeddingSimilarity", "BinaryClassification"
ALIKE = "spec.data.evaluation[0]: dataset held-out: every model would get the same score because"
ANSWERS = {"query": "q", "positive": "good"}


@pytest.mark.parametrize(
    ("evaluator", "columns", "rows", "because"),
    [
        (
            SIMILARITY,
            PAIRS,
            [{"q": f"q{n}", "d": f"d{n}", "score": 0.8} for n in range(9)],
            "its 9 rows have one label, 0.8; give pairs with different labels",
        ),
        (
            SIMILARITY,
            PAIRS,
            [{"q": "q", "d": "d", "score": 0.8}],
            "its 1 rows have one label, 0.8; give pairs with different labels",
        ),
        (
            SIMILARITY,
            PAIRS,
            [{"q": "q", "d": "d", "score": score} for score in (0.1, 0.8)],
            "its 2 rows hold one pair; give pairs with different labels",
        ),
        (
            CLASSES,
            PAIRS,
            [{"q": f"q{n}", "d": f"d{n}", "score": 1} for n in range(8)],
            "its 8 rows have one label, 1; give pairs of both kinds, 0 and 1",
        ),
        (
            None,
            ANSWERS,
            [{"q": "q", "good": "a"}],
            "all documents are relevant to all queries (1 documents, 1 queries); add documents that are not, or "
            "hold out more rows",
        ),
        (
            None,
            ANSWERS,
            [{"q": query, "good": good} for query in ("q", "r") for good in ("a", "b")],
            "all documents are relevant to all queries (2 documents, 2 queries); add documents that are not, or "
            "hold out more rows",
        ),
        (
            None,
            COLUMNS,
            [{"q": "q", "good": "a", "bad": "q"}],
            "all documents are relevant to all queries (2 documents, 1 queries); add documents that are not, or "
            "hold out more rows",
        ),
        (
            "Triplet",
            COLUMNS,
            [{"q": "q", "good": "a", "bad": "a"}, {"q": "b", "good": "b", "bad": "c"}],
            "no row has three different texts or images; give others as negatives",
        ),
    ],
)
def test_sets_whose_score_says_nothing_of_a_model_are_refused(  # noqa: PLR0913, PLR0917 - fixtures
    make_run: MakeRun,
    claim: Path,
    evaluator: str | None,
    columns: dict[str, Any],
    rows: list[dict[str, Any]],
    because: str,
) -> None:
    run = evaluation_run(make_run, claim, rows, columns=columns, evaluator=evaluator)

    assert told(run) == (Reason.EMPTY_DATASET, f"{ALIKE} {because}")


def test_triplets_that_say_nothing_are_counted(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "good": "a", "bad": "x"}, {"q": "two", "good": "b", "bad": "b"}]
    run = evaluation_run(make_run, claim, rows, columns=COLUMNS, evaluator="Triplet")

    assert lay_out(run).warnings == [
        "spec.data.evaluation[0]: dataset held-out: 1 of 2 triplets hold a text or image twice, and tell nothing of a "
        "model"
    ]


def test_queries_that_are_documents_are_told(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "good": "uno"}, {"q": "uno", "good": "one"}, {"q": "two", "good": "two"}]
    run = evaluation_run(make_run, claim, rows, columns=ANSWERS)

    assert lay_out(run).warnings == [
        "spec.data.evaluation[0]: dataset held-out: 2 of 3 queries are documents of the corpus and not relevant to "
        "themselves; each is left out of its own ranking"
    ]


def test_a_query_is_no_candidate_for_itself(make_run: MakeRun, claim: Path) -> None:
    rows = [{"q": "one", "good": ["a"], "bad": ["one", "x"]}, {"q": "two", "good": ["b"], "bad": ["two"]}]
    run = evaluation_run(make_run, claim, rows, columns=COLUMNS, evaluator="Reranking")

    found = lay_out(run)

    assert candidates(run) == [("one", "a"), ("one", "x")]
    assert found.warnings == [
        "spec.data.evaluation[0]: dataset held-out: 1 queries lack relevant or other documents; they are left out",
        "spec.data.evaluation[0]: dataset held-out: 2 of 2 queries are documents of the corpus and not relevant to "
        "themselves; each is left out of its own ranking",
    ]
