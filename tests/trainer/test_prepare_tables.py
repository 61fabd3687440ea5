"""prepare: rows of every form become one kind of table."""

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from finetune_api.reasons import Reason
from finetune_api.status import DatasetStatus
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import Column, PreparedEvaluation
from tests.trainer.conftest import MakeRun, png, write_jsonl, write_pages
from tests.trainer.laying_out import given, kept, lay_out, read, read_evaluation, text_run, told

TEXTS = [{"question": f"question {i}", "answer": f"answer {i}"} for i in range(3)]


def write_csv(folder: Path, rows: list[dict[str, str]]) -> None:
    folder.mkdir()
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(folder: Path, rows: list[dict[str, str]]) -> None:
    folder.mkdir()
    datasets.Dataset.from_list(rows).to_parquet(folder / "train.parquet")


def write_json_lines(folder: Path, rows: list[dict[str, str]]) -> None:
    write_jsonl(folder / "train.jsonl", rows)


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_json_lines])
def test_texts_of_every_file_format_become_the_training_table(
    make_run: MakeRun, claim: Path, write: Callable[[Path, list[dict[str, str]]], None]
) -> None:
    write(claim / "qa", TEXTS)
    run = text_run(make_run)

    written = lay_out(run)

    assert written.train[0].columns == [Column(name="query", modality="text"), Column(name="positive", modality="text")]
    assert read(run.workspace.train_table("qa")) == [
        {"query": f"question {i}", "positive": f"answer {i}"} for i in range(3)
    ]
    assert written.warnings == []


def test_an_image_folder_with_metadata_becomes_images_and_texts(make_run: MakeRun, claim: Path) -> None:
    folder = claim / "qa"
    for name in ("red", "blue"):
        (folder / "train").mkdir(parents=True, exist_ok=True)
        (folder / "train" / f"{name}.png").write_bytes(png(name))
    write_jsonl(
        folder / "train" / "metadata.jsonl",
        [{"file_name": f"{name}.png", "question": f"a {name} page"} for name in ("red", "blue")],
    )
    run = text_run(make_run, columns={"query": "question", "positive": "image"})

    lay_out(run)

    found = {row["query"]: kept(run, row["positive"]) for row in read(run.workspace.train_table("qa"))}
    assert found == {"a red page": png("red"), "a blue page": png("blue")}


def test_a_text_that_names_a_file_an_address_or_an_image_stays_text_where_the_spec_says_so(
    make_run: MakeRun, claim: Path
) -> None:
    picture = claim / "qa" / "pictures" / "page.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(png())
    odd = [str(picture), "pictures/page.png", "http://127.0.0.1:9/page.png", "data:image/png;base64,AAAA", "a b", "c d"]
    write_parquet(claim / "qa" / "data", [{"question": text, "answer": text[::-1]} for text in odd])
    run = text_run(make_run, columns={"query": "question", "positive": "answer", "texts": ["question"]})

    written = lay_out(run)

    assert [column.modality for column in written.train[0].columns] == ["text", "text"]
    assert [row["query"] for row in read(run.workspace.train_table("qa"))] == odd
    assert not run.workspace.images.exists()


def test_bytes_and_images_that_lost_their_type_are_read_as_images(make_run: MakeRun, claim: Path) -> None:
    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "answer": datasets.Value("binary"),
            "other": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        }
    )
    row = {"question": "which", "answer": png("red"), "other": {"bytes": png("blue"), "path": "x.png"}}
    (claim / "qa").mkdir()
    datasets.Dataset.from_list([row], features=features).to_parquet(claim / "qa" / "train.parquet")
    run = text_run(make_run, columns={"query": "question", "positive": "answer", "negatives": ["other"]})

    written = lay_out(run)

    (found,) = read(run.workspace.train_table("qa"))
    assert written.train[0].columns == [
        Column(name="query", modality="text"),
        Column(name="positive", modality="image"),
        Column(name="negative_0", modality="image"),
    ]
    assert kept(run, found["positive"]) == png("red")
    assert kept(run, found["negative_0"]) == png("blue")


def test_an_image_that_comes_often_is_stored_once_under_the_hash_of_its_bytes(make_run: MakeRun, claim: Path) -> None:
    write_pages(claim / "qa", train=[{"query": f"question {i}", "image": png("red")} for i in range(5)])
    run = text_run(make_run, columns={"query": "query", "positive": "image"})

    lay_out(run)

    name = hashlib.sha256(png("red")).hexdigest()
    assert KeptImages(run.workspace.images).index["name"].to_pylist() == [name]
    assert [row["positive"] for row in read(run.workspace.train_table("qa"))] == [name] * 5


def test_it_is_told_how_far_reading_has_come_and_how_long_it_will_take(
    make_run: MakeRun, claim: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("finetune_trainer.prepare.tracker._LOG_SECONDS", -1)
    given(claim, *({"question": f"q{number}"} for number in range(40)))
    caplog.set_level("INFO")

    lay_out(text_run(make_run))

    told = [vars(record) for record in caplog.records if record.message == "reading"]
    assert [(one["dataset"], one["rows"], one["of"]) for one in told] == [
        ("qa", 16, 40),
        ("qa", 32, 40),
        ("qa", 40, 40),
    ]
    assert all(one["rows_per_second"] > 0 for one in told)
    assert told[-1]["seconds_left"] == 0


def test_limit_takes_the_first_rows(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", TEXTS)
    run = text_run(make_run, limit=2)

    written = lay_out(run)

    assert written.datasets == [DatasetStatus(name="qa", revision=written.datasets[0].revision, rows=2)]
    assert [row["query"] for row in read(run.workspace.train_table("qa"))] == ["question 0", "question 1"]


def test_a_subset_is_taken_by_name(make_run: MakeRun, claim: Path) -> None:
    card = (
        "---\nconfigs:\n- config_name: one\n  data_files: one.jsonl\n- config_name: two\n  data_files: two.jsonl\n---\n"
    )
    write_jsonl(claim / "qa" / "one.jsonl", TEXTS[:1])
    write_jsonl(claim / "qa" / "two.jsonl", TEXTS[1:])
    (claim / "qa" / "README.md").write_text(card)
    run = text_run(make_run, subset="two")

    lay_out(run)

    assert [row["query"] for row in read(run.workspace.train_table("qa"))] == ["question 1", "question 2"]


def test_splits_may_have_columns_of_their_own(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": ["a", "b"]}])
    write_jsonl(claim / "qa" / "test.jsonl", [{"question": f"r {one}", "answer": one, "note": 1} for one in "cd"])
    columns = {"query": "question", "positive": "answer"}
    run = text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/qa", "columns": columns}])

    lay_out(run)

    assert [row["positive"] for row in read(run.workspace.train_table("qa"))] == ["a", "b"]
    assert list(read_evaluation(run, "held-out")[1].values()) == ["c", "d"]


def test_evaluation_rows_become_queries_corpus_and_relevance_without_doubles(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", TEXTS)
    rows = [
        {"q": "first", "good": "a", "bad": "x"},
        {"q": "second", "good": "b", "bad": "a"},
        {"q": "first", "good": "c", "bad": "x"},
    ]
    write_jsonl(claim / "held-out" / "test.jsonl", rows)
    columns = {"query": "q", "positive": "good", "negatives": ["bad"]}
    run = text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/held-out", "columns": columns}])

    written = lay_out(run)

    queries, corpus, relevant = read_evaluation(run, "held-out")
    assert list(queries.values()) == ["first", "second"]
    assert list(corpus.values()) == ["a", "x", "b", "c"]
    assert {(queries[query], corpus[document]) for query, document in relevant} == {
        ("first", "a"),
        ("second", "b"),
        ("first", "c"),
    }
    assert written.evaluations == [
        PreparedEvaluation(name="held-out", query_modality="text", corpus_modality="text", queries=2, documents=4)
    ]


HELD_OUT = {"name": "held-out", "source": "pvc://inputs/held-out"}
RELEVANT = "spec.data.evaluation[0].tables.relevantDocuments: dataset held-out"
TABLES = {
    "queries": {"subset": "queries", "split": "test"},
    "corpus": {"subset": "corpus", "split": "test"},
    "relevantDocuments": {"subset": "qrels", "split": "test"},
}


def write_tables(folder: Path, **tables: list[dict[str, Any]]) -> None:
    entries = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}.jsonl\n" for name in tables
    )
    for name, rows in tables.items():
        write_jsonl(folder / f"{name}.jsonl", rows)
    (folder / "README.md").write_text(f"---\nconfigs:\n{entries}---\n")


def test_three_tables_keep_their_ids_and_merge_equal_documents(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", TEXTS)
    write_tables(
        claim / "held-out",
        queries=[{"id": 1, "text": "first"}, {"id": 2, "text": "second"}, {"id": 3, "text": "idle"}],
        corpus=[{"id": "a", "text": "same"}, {"id": "b", "text": "other"}, {"id": "c", "text": "same"}],
        qrels=[
            {"query_id": 1, "corpus_id": "a"},
            {"query_id": 2, "corpus_id": "c"},
            {"query_id": 2, "corpus_id": "b"},
            {"query_id": 2, "corpus_id": "unheard-of"},
        ],
    )
    run = text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/held-out", "tables": TABLES}])

    written = lay_out(run)

    assert read_evaluation(run, "held-out") == (
        {"1": "first", "2": "second"},
        {"a": "same", "b": "other"},
        [("1", "a"), ("2", "a"), ("2", "b")],
    )
    assert written.warnings == [
        f"{RELEVANT}: 1 relevant pairs name ids that queries or corpus do not have, for example unheard-of where the "
        "corpus has a; they are left out",
        f"{RELEVANT}: 1 queries have no relevant document; they are left out",
        f"{RELEVANT}: all documents are relevant to 1 of 2 queries, which score the same whatever the model",
    ]


def test_ids_that_a_query_and_a_document_share_are_told_unless_they_are_mere_numbers(
    make_run: MakeRun, claim: Path
) -> None:
    write_json_lines(claim / "qa", TEXTS)
    write_tables(
        claim / "held-out",
        queries=[{"id": "debate-1", "text": "for"}, {"id": "7", "text": "against"}, {"id": "debate-2", "text": "same"}],
        corpus=[
            {"id": "debate-1", "text": "For: the whole of it"},
            {"id": "7", "text": "no relation"},
            {"id": "debate-2", "text": "same"},
        ],
        qrels=[{"query_id": query, "corpus_id": "7"} for query in ("debate-1", "debate-2")]
        + [{"query_id": "7", "corpus_id": "debate-1"}],
    )
    run = text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/held-out", "tables": TABLES}])

    written = lay_out(run)

    where = "spec.data.evaluation[0].tables.relevantDocuments: dataset held-out"
    assert written.warnings == [
        f"{where}: 1 of 3 queries are documents of the corpus and not relevant to themselves; each is left out of its "
        "own ranking",
        f"{where}: 1 of 3 queries have the id of a document that is not relevant to them, for example debate-1; where "
        "that is the query in other words, take it out of the corpus",
    ]


def test_relevant_pairs_that_all_name_unknown_ids_are_told_with_the_ids_that_may_be_meant(
    make_run: MakeRun, claim: Path
) -> None:
    write_json_lines(claim / "qa", TEXTS)
    ids = range(24, 32)
    write_tables(
        claim / "held-out",
        queries=[{"id": str(one), "text": f"query {one}"} for one in ids],
        corpus=[{"id": f"{one:04}", "text": f"text {one}"} for one in range(40)],
        qrels=[{"query_id": one, "corpus_id": one} for one in ids],
    )

    assert told(text_run(make_run, evaluation=[HELD_OUT | {"tables": TABLES}])) == (
        Reason.EMPTY_DATASET,
        f"{RELEVANT}: none of 8 relevant pairs names ids that queries and corpus have; for example 24 where the corpus "
        "has 0024",
    )


def test_files_of_several_formats_are_told_before_they_are_read(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", TEXTS)
    write_tables(claim / "held-out", queries=[{"id": "1", "text": "q"}], corpus=[{"id": "1", "text": "a"}], qrels=[])
    card = claim / "held-out" / "README.md"
    card.write_text(card.read_text().replace("qrels.jsonl", "qrels/test.tsv"))
    (claim / "held-out" / "qrels.jsonl").unlink()
    (claim / "held-out" / "qrels").mkdir()
    (claim / "held-out" / "qrels" / "test.tsv").write_text("query_id\tcorpus_id\n1\t1\n")

    assert told(text_run(make_run, evaluation=[HELD_OUT | {"tables": TABLES}])) == (
        Reason.UNREADABLE_DATASET,
        f"{RELEVANT}: its files have several formats, .jsonl, .tsv; test.tsv would be read as json; give all as one",
    )


def test_a_split_that_is_a_file_of_another_name_is_told_with_the_way_to_a_table(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", TEXTS)
    for name in ("corpus", "queries", "qrels/test"):
        write_jsonl(claim / "held-out" / f"{name}.jsonl", [{"id": "1", "text": "a"}])
    tables = TABLES | {"queries": {"split": "queries"}, "corpus": {"split": "test"}}

    reason, message = told(text_run(make_run, evaluation=[HELD_OUT | {"tables": tables}]))

    assert reason is Reason.SPLIT_NOT_FOUND
    assert (
        "spec.data.evaluation[0].tables.queries.split: 'queries' is not in the dataset; it has test; for queries.jsonl "
        "to be a table of its own, name it as data_files of a config in README.md and give the config here as subset "
        "(docs/data.md)"
    ) in message


def test_a_held_out_pair_or_query_that_is_also_trained_on_is_told(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", TEXTS)
    held_out = [TEXTS[1], {"question": "new", "answer": "answer 0"}, {"question": "question 2", "answer": "next"}]
    write_jsonl(claim / "held-out" / "test.jsonl", held_out)
    columns = {"query": "question", "positive": "answer"}
    run = text_run(make_run, evaluation=[{"name": "held-out", "source": "pvc://inputs/held-out", "columns": columns}])

    written = lay_out(run)

    assert written.warnings == [
        "spec.data.train[0]: dataset qa: 1 rows are also held-out pairs of the evaluation set held-out, for example "
        "row 1, so its scores will be too good; take them out of one of the two",
        "spec.data.train[0]: dataset qa: 1 rows have a query of the evaluation set held-out and other documents, for "
        "example row 2, so its scores may be too good; take them out of one of the two",
    ]


def test_the_revision_of_a_claim_is_a_hash_of_its_content(make_run: MakeRun, claim: Path) -> None:
    write_json_lines(claim / "qa", TEXTS)
    first, again = (lay_out(text_run(make_run)).datasets[0].revision for _ in range(2))
    write_json_lines(claim / "qa", TEXTS[:2])

    changed = lay_out(text_run(make_run)).datasets[0].revision

    assert first == again
    assert first is not None
    assert len(first) == 64
    assert changed != first
