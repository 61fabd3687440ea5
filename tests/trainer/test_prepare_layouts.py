"""prepare: rows of every layout become the table that their loss takes, and no list is ever taken for a pair."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import datasets

from finetune_api.losses import Label
from finetune_api.reasons import Reason
from finetune_trainer.prepare.layout.examples import Example
from finetune_trainer.workspace.manifest import Column, PreparedTrain
from tests.trainer.conftest import MakeRun, png, write_jsonl
from tests.trainer.laying_out import columns, given, kept, lay_out, names_and_types, read, text_run, told, written

LIST = {"query": "question", "positive": "answer", "negatives": ["wrong"]}
PAIR = {"query": "question", "document": "answer", "label": "score"}
LISTWISE = {"query": "question", "documents": "answers", "label": "scores"}


def test_a_list_of_positives_makes_one_row_per_value(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answer": ["a", "b"]}, {"question": "r", "answer": ["c"]})

    rows = written(text_run(make_run))

    assert rows == [("q", "a"), ("q", "b"), ("r", "c")]


def test_a_list_of_exactly_two_is_never_trained_on_as_a_pair(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"wrong": ["x", "y"]}, {"question": "r", "wrong": ["z", "w"]})
    run = text_run(make_run, columns=LIST)

    rows = written(run)

    assert rows == [("q", "a", "x", "y"), ("r", "a", "z", "w")]
    assert names_and_types(run) == dict.fromkeys(("query", "positive", "negative_0", "negative_1"), "string")


def test_a_list_of_exactly_two_images_is_never_trained_on_as_a_pair(make_run: MakeRun, claim: Path) -> None:
    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "answer": datasets.List(datasets.Image()),
            "wrong": datasets.List(datasets.Image()),
        }
    )
    image = {color: {"bytes": png(color), "path": None} for color in ("red", "green", "blue", "black")}
    row = {
        "question": "q",
        "answer": [image["red"], image["green"]],
        "wrong": [image["blue"], image["black"]],
    }
    (claim / "qa").mkdir()
    datasets.Dataset.from_list([row], features=features).to_parquet(claim / "qa" / "train.parquet")
    run = text_run(make_run, columns=LIST)

    rows = written(run)

    contents = [[kept(run, cell) for cell in cells] for _, *cells in rows]
    assert contents == [
        [png("red"), png("blue"), png("black")],
        [png("green"), png("blue"), png("black")],
    ]


def test_of_lists_of_negatives_as_many_are_taken_as_nearly_all_rows_have(make_run: MakeRun, claim: Path) -> None:
    many = [{"question": f"q{i}", "wrong": ["x", "y", "z"] if i % 2 else ["x", "y"]} for i in range(199)]
    given(claim, *many, {"question": "short", "wrong": ["x"]})
    run = text_run(make_run, columns=LIST)

    found = lay_out(run)

    rows = read(run.workspace.train_table("qa"))
    assert {tuple(row) for row in rows} == {("query", "positive", "negative_0", "negative_1")}
    assert [row["query"] for row in rows] == [f"q{i}" for i in range(199)]
    assert found.warnings == [
        "spec.data.train[0]: dataset qa: 1 rows have less than 2 negatives; they are left out",
        "spec.data.train[0]: dataset qa: some rows have up to 3 negatives; the first 2 of each are taken",
    ]


def test_a_loss_that_takes_one_negative_gets_the_first_of_each_list(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"wrong": ["x", "y"]}, {"wrong": ["z", "w"]})

    rows = written(text_run(make_run, columns=LIST, loss="TripletLoss"))

    assert rows == [("q", "a", "x"), ("q", "a", "z")]


def test_no_negatives_in_any_list_is_told(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a", "wrong": w} for w in ([], ["x"], [])])

    found = told(text_run(make_run, columns=LIST, limit=1))

    assert found == (
        Reason.EMPTY_DATASET,
        "spec.data.train[0]: dataset qa: no row has 1 negatives; ask for fewer",
    )


def test_lists_in_one_of_several_columns_of_negatives_are_refused(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"wrong": ["x"], "other": "y"})

    reason, message = told(text_run(make_run, columns=LIST | {"negatives": ["wrong", "other"]}))

    assert reason is Reason.INVALID_ARGUMENT
    assert message.startswith("spec.data.train[0]: column 'wrong' of dataset qa holds lists; a list is never trained")


def test_lists_of_documents_keep_their_lengths(make_run: MakeRun, claim: Path) -> None:
    given(
        claim,
        {"answers": ["a", "b"], "scores": [1, 0]},
        {"answers": ["c", "d", "e"], "scores": [0.1, 0.2, 0.3]},
    )
    run = text_run(make_run, columns=LISTWISE, loss="LambdaLoss", kind="Reranker")

    found = lay_out(run)

    assert found.train == [PreparedTrain(name="qa", columns=columns("query", "documents"), label=Label.SCORES, rows=2)]
    assert read(run.workspace.train_table("qa")) == [
        {"query": "q", "documents": ["a", "b"], "label": [1.0, 0.0]},
        {"query": "q", "documents": ["c", "d", "e"], "label": [0.1, 0.2, 0.3]},
    ]


def test_a_list_of_documents_with_other_labels_or_none_makes_a_bad_row(make_run: MakeRun, claim: Path) -> None:
    given(
        claim,
        {"answers": ["a", "b"], "scores": [1.0]},
        {"answers": [], "scores": [1.0]},
        {"answers": ["a", " "], "scores": [1.0, 0.0]},
    )

    _, message = told(text_run(make_run, columns=LISTWISE, loss="LambdaLoss", kind="Reranker"))

    assert "row 0: label: 1 numbers for 2 documents" in message
    assert "row 1: documents: empty list" in message
    assert "row 2: documents: value 1 of the list: empty text" in message


def test_single_documents_where_lists_are_needed_are_refused(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answers": "a", "scores": [1.0]})

    assert told(text_run(make_run, columns=LISTWISE, loss="LambdaLoss", kind="Reranker")) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.train[0]: column 'answers' of dataset qa holds string; lists of texts or images are needed",
    )


def test_answers_and_negatives_become_labeled_pairs_for_a_pointwise_reranker(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answer": ["a"], "wrong": ["x", "y"]}, {"question": "r", "answer": ["b", "c"], "wrong": []})
    run = text_run(make_run, columns=LIST, loss="BinaryCrossEntropyLoss", kind="Reranker")

    found = lay_out(run)

    assert found.train == [PreparedTrain(name="qa", columns=columns("query", "document"), label=Label.SCORE, rows=5)]
    assert [tuple(row.values()) for row in read(run.workspace.train_table("qa"))] == [
        ("q", "a", 1.0),
        ("q", "x", 0.0),
        ("q", "y", 0.0),
        ("r", "b", 1.0),
        ("r", "c", 1.0),
    ]
    assert (found.datasets[0].rows, found.datasets[0].skipped) == (2, 0)


def test_answers_and_negatives_become_labeled_lists_for_a_listwise_reranker(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"wrong": ["x", "y"]}, {"question": "r", "wrong": ["z"]}, {"question": "alone", "wrong": []})
    run = text_run(make_run, columns=LIST, loss="ListNetLoss", kind="Reranker")

    found = lay_out(run)

    assert read(run.workspace.train_table("qa")) == [
        {"query": "q", "documents": ["a", "x", "y"], "label": [1.0, 0.0, 0.0]},
        {"query": "r", "documents": ["a", "z"], "label": [1.0, 0.0]},
    ]
    assert found.warnings == ["spec.data.train[0]: dataset qa: 1 rows have less than 1 negatives; they are left out"]


def test_images_for_a_loss_of_texts_are_refused(make_run: MakeRun, claim: Path) -> None:
    features = datasets.Features({"question": datasets.Value("string"), "answer": datasets.Image()})
    (claim / "qa").mkdir()
    row = {"question": "q", "answer": {"bytes": png(), "path": None}}
    datasets.Dataset.from_list([row], features=features).to_parquet(claim / "qa" / "train.parquet")

    assert told(text_run(make_run, loss="DenoisingAutoEncoderLoss")) == (
        Reason.UNSUPPORTED_MODALITY,
        "spec.data.train[0]: dataset qa has columns of images, but DenoisingAutoEncoderLoss takes texts only; choose "
        "another loss",
    )


def test_several_training_sets_have_tables_losses_and_problems_of_their_own(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"score": 0.5})
    write_jsonl(claim / "other" / "train.jsonl", [{"question": "q", "answer": "a"}])
    pairs = {
        "name": "pairs",
        "source": "pvc://inputs/qa",
        "columns": PAIR,
        "loss": {"name": "CoSENTLoss"},
    }
    other = {
        "name": "other",
        "source": "pvc://inputs/other",
        "columns": {"query": "question", "positive": "answer"},
    }
    write_jsonl(claim / "test" / "test.jsonl", [{"question": "q", "answer": "a"}, {"question": "p", "answer": "b"}])
    held_out = {"name": "test", "source": "pvc://inputs/test", "columns": other["columns"]}
    run = make_run(model={"source": "pvc://inputs/model"}, data={"train": [pairs, other], "evaluation": [held_out]})

    found = lay_out(run)

    assert found.train == [
        PreparedTrain(name="pairs", columns=columns("query", "document"), label=Label.SCORE, rows=1),
        PreparedTrain(name="other", columns=columns("query", "positive"), rows=1, distinct={"query": 1, "positive": 1}),
    ]
    assert [dataset.name for dataset in found.datasets] == ["pairs", "other", "test"]
    assert read(run.workspace.train_table("other")) == [{"query": "q", "positive": "a"}]
    assert found.warnings == [
        f"spec.data.train[{index}]: dataset {name}: 1 rows are also held-out pairs of the evaluation set test, for "
        "example row 0, so its scores will be too good; take them out of one of the two"
        for index, name in enumerate(["pairs", "other"])
    ]


def test_problems_of_several_training_sets_are_told_at_once(make_run: MakeRun, claim: Path) -> None:
    given(claim, {})
    sets = [
        {"name": name, "source": "pvc://inputs/qa", "columns": {"query": "question", "positive": column}}
        for name, column in (("one", "missing"), ("two", "answer"), ("three", "gone"))
    ]
    run = make_run(model={"source": "pvc://inputs/model"}, data={"train": sets})

    reason, message = told(run)

    assert reason is Reason.COLUMN_NOT_FOUND
    assert message.startswith("2 problems. 1) spec.data.train[0]: dataset one, split train, has no column missing")
    assert "2) spec.data.train[2]: dataset three, split train, has no column gone" in message


def test_mined_negatives_become_labeled_pairs_too(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answer": "a"}, {"question": "r", "answer": "b"})
    mining = {"numNegatives": 1, "source": "pvc://inputs/model"}
    run = text_run(make_run, loss="BinaryCrossEntropyLoss", kind="Reranker", mineNegatives=mining)

    def mine(examples: Sequence[Example], columns: Sequence[Column]) -> list[Example]:
        assert [column.name for column in columns] == ["query", "document"]
        return [replace(one, negatives=[f"not {one.documents[0]}"]) for one in examples if one.query == "q"]

    found = lay_out(run, miner_of=lambda _: mine)

    assert [tuple(row.values()) for row in read(run.workspace.train_table("qa"))] == [
        ("q", "a", 1.0),
        ("q", "not a", 0),
    ]
    assert found.warnings == ["spec.data.train[0]: dataset qa: 1 rows have less than 1 negatives; they are left out"]
