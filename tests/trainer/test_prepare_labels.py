"""prepare: labels of rows are written as their loss takes them, and what is no such label makes a bad row."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pytest

from finetune_api.losses import Label
from finetune_api.reasons import Reason
from finetune_trainer.workspace.manifest import PreparedTrain
from tests.trainer.conftest import MakeRun, write_jsonl
from tests.trainer.laying_out import columns, given, lay_out, names_and_types, read, text_run, told, written

LIST = {"query": "question", "positive": "answer", "negatives": ["wrong"]}
SCORED = LIST | {"label": "score"}
PAIR = {"query": "question", "document": "answer", "label": "score"}


@pytest.mark.parametrize(
    ("loss", "scores", "kind"),
    [("CoSENTLoss", [0.5, 1], "double"), ("ContrastiveLoss", [0, 1], "int64"), ("SoftmaxLoss", [2, 0], "int64")],
)
def test_labels_of_pairs_are_written_as_the_loss_takes_them(
    make_run: MakeRun, claim: Path, loss: str, scores: list[float], kind: str
) -> None:
    given(claim, {"score": scores[0]}, {"score": scores[1]})
    run = text_run(make_run, columns=PAIR, loss=loss)

    rows = written(run)

    assert rows == [("q", "a", scores[0]), ("q", "a", scores[1])]
    assert names_and_types(run) == {"query": "string", "document": "string", "label": kind}


def test_decimal_labels_are_numbers(make_run: MakeRun, claim: Path) -> None:
    string, decimal = datasets.Value("string"), datasets.Value("decimal128(5, 2)")
    features = datasets.Features({"question": string, "answer": string, "score": decimal})
    rows = [{"question": "q", "answer": "a", "score": Decimal(one)} for one in ("0.75", "1.00")]
    (claim / "qa").mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(claim / "qa" / "train.parquet")

    assert written(text_run(make_run, columns=PAIR, loss="CoSENTLoss")) == [("q", "a", 0.75), ("q", "a", 1.0)]


@pytest.mark.parametrize(
    ("loss", "score", "because"),
    [
        ("CoSENTLoss", None, "no label"),
        ("CoSENTLoss", float("nan"), "label is no finite number"),
        ("CoSENTLoss", float("inf"), "label is no finite number"),
        ("ContrastiveLoss", 0.5, "label is neither 0 nor 1"),
        ("SoftmaxLoss", -1.0, "label is no class, which are whole numbers from 0"),
        ("SoftmaxLoss", 1.5, "label is no class, which are whole numbers from 0"),
    ],
)
def test_a_label_that_the_loss_cannot_take_makes_a_bad_row(
    make_run: MakeRun, claim: Path, loss: str, score: float | None, because: str
) -> None:
    rows = [{"question": "q", "answer": "a", "score": value} for value in (1.0, score)]
    (claim / "qa").mkdir()
    datasets.Dataset.from_list(rows).to_parquet(claim / "qa" / "train.parquet")

    found = told(text_run(make_run, columns=PAIR, loss=loss))

    assert found == (
        Reason.BAD_SAMPLES,
        f"spec.data.train[0]: dataset qa: 1 row of 2 cannot be used (row 1: label: {because}), above maxBadSampleRatio "
        "0.01; mend these rows or raise data.maxBadSampleRatio",
    )


@pytest.mark.parametrize(
    ("training", "score", "because"),
    [
        (
            {"columns": PAIR, "loss": "SoftmaxLoss"},
            "good",
            "holds string; what is needed is a class, whole numbers from 0",
        ),
        ({"columns": PAIR, "loss": "CoSENTLoss"}, [0.5], "holds lists of float64; what is needed is a number"),
        (
            {"columns": SCORED, "loss": "DistillKLDivLoss"},
            0.5,
            "holds float64; what is needed is a list of numbers, one per document",
        ),
    ],
)
def test_a_label_column_of_the_wrong_type_names_what_is_needed(
    make_run: MakeRun, claim: Path, training: dict[str, Any], score: object, because: str
) -> None:
    given(claim, {"score": score, "wrong": "x"})

    assert told(text_run(make_run, **training)) == (
        Reason.INVALID_ARGUMENT,
        f"spec.data.train[0]: column 'score' of dataset qa {because}",
    )


def test_classes_of_the_library_are_labels(make_run: MakeRun, claim: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "score": datasets.ClassLabel(names=["no", "yes"])})
    (claim / "qa").mkdir()
    rows = [{"text": "one", "score": 1}, {"text": "two", "score": 0}]
    datasets.Dataset.from_list(rows, features=features).to_parquet(claim / "qa" / "train.parquet")
    run = text_run(make_run, columns={"document": "text", "label": "score"}, loss="BatchAllTripletLoss")

    found = lay_out(run)

    assert found.train == [PreparedTrain(name="qa", columns=columns("document"), label=Label.CLASS, rows=2)]
    assert read(run.workspace.train_table("qa")) == [
        {"document": "one", "label": 1},
        {"document": "two", "label": 0},
    ]


def test_scores_of_documents_go_with_them_when_lists_are_cut(make_run: MakeRun, claim: Path) -> None:
    given(
        claim,
        {"wrong": ["x", "y"], "score": [3.0, 2.0, 1.0]},
        {"wrong": ["z"], "score": [0.5, 0.25]},
    )
    run = text_run(make_run, columns=SCORED, loss="DistillKLDivLoss")

    rows = written(run)

    assert rows == [("q", "a", "x", [3.0, 2.0]), ("q", "a", "z", [0.5, 0.25])]
    assert names_and_types(run)["label"] == "list<item: double>"


def test_scores_that_are_not_one_per_document_make_a_bad_row(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"wrong": "x", "score": [1.0, 0.0]}, {"wrong": "y", "score": [1.0]})

    _, message = told(text_run(make_run, columns=SCORED, loss="DistillKLDivLoss"))

    assert "row 1: label: 1 numbers for 1 negatives, where 2 are needed" in message


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.5, -0.5], [0.5, -0.5]),
        ([[0.5], [-0.5]], [[0.5], [-0.5]]),
        ([[1.0, 0.5], [0.25, 0.75]], [[1.0, 0.5], [0.25, 0.75]]),
    ],
)
def test_margins_are_a_number_or_a_list_per_negative_or_per_document(
    make_run: MakeRun, claim: Path, scores: list[Any], expected: list[Any]
) -> None:
    given(claim, *({"wrong": "x", "score": score} for score in scores))

    rows = written(text_run(make_run, columns=SCORED, loss="MarginMSELoss"))

    assert [row[-1] for row in rows] == expected


def test_one_margin_for_several_negatives_makes_a_bad_row(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"wrong": ["x", "y"], "score": 0.5}, {"wrong": ["x"], "score": 0.5})

    _, message = told(text_run(make_run, columns=SCORED, loss="MarginMSELoss"))

    assert "row 0: label: one number goes with one negative, not with 2" in message


def test_a_list_of_positives_cannot_share_one_label(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answer": ["a", "b"], "wrong": "x", "score": 0.5})

    reason, message = told(text_run(make_run, columns=SCORED, loss="MarginMSELoss"))

    assert reason is Reason.INVALID_ARGUMENT
    assert message.startswith("spec.data.train[0]: column 'answer' of dataset qa holds lists")


def test_embeddings_of_a_teacher_have_one_length(make_run: MakeRun, claim: Path) -> None:
    vectors = [[0.5, 0.5], [0.25, 0.75], [1.0]]
    write_jsonl(claim / "qa" / "train.jsonl", [{"text": f"t{i}", "score": v} for i, v in enumerate(vectors)])
    run = text_run(make_run, columns={"document": "text", "label": "score"}, loss="MSELoss")

    _, message = told(run)

    assert "1 row of 3 cannot be used (row 2: label: 1 numbers, where most rows have 2)" in message
    assert read(run.workspace.train_table("qa"))[0] == {"document": "t0", "label": [0.5, 0.5]}
