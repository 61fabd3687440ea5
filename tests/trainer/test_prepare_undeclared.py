"""prepare: what the manifest does not mention is told, not trained on or left out in silence."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_api.reasons import Reason
from tests.trainer.conftest import MakeRun, png, write_jsonl
from tests.trainer.laying_out import given, lay_out, read, text_run, told, written

PAIR = {"query": "question", "positive": "answer"}
HELD_OUT = {"name": "held-out", "source": "pvc://inputs/held-out"}
MEANT = "if the names are meant"
BEHIND = "and what is trained on or measured would be the names"


def named(claim: Path, *answers: object) -> None:
    given(claim, *({"question": f"q{i}", "answer": answer} for i, answer in enumerate(answers)))


def three_tables(claim: Path, **tables: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Write queries, corpus and relevantDocuments as subsets of a dataset; return the tables of the spec."""
    given(claim, {})
    for name, rows in tables.items():
        write_jsonl(claim / "held-out" / f"{name}.jsonl", rows)
    configs = "".join(f"- {{config_name: {name}, data_files: {name}.jsonl}}\n" for name in tables)
    (claim / "held-out" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    return {name: {"subset": name, "split": "train"} for name in tables}


def test_names_of_images_are_refused_as_texts_with_both_ways_out(make_run: MakeRun, claim: Path) -> None:
    named(claim, *(f"pictures/Page {i}.PNG" for i in range(11)), "a text")

    assert told(text_run(make_run)) == (
        Reason.UNSUPPORTED_MODALITY,
        "spec.data.train[0]: column 'answer' of dataset qa holds names of images in 11 of 12 texts (for example "
        f"pictures/Page 0.PNG), {BEHIND}; add it to spec.data.train[0].columns.images; {MEANT}, add it to "
        "spec.data.train[0].columns.texts",
    )


@pytest.mark.parametrize(
    ("names", "kind", "remedy"),
    [
        (
            ["https://images.example/a.jpg?size=1&token=secret", "https://images.example/b.jpeg"],
            "names of images",
            "add it to spec.data.train[0].columns.images, and their hosts to spec.data.allowImageUrls",
        ),
        (
            ["data:image/png;base64,iVBORw0KGgo", "data:image/jpeg;base64,/9j/"],
            "names of images",
            "write the images as a column of bytes",
        ),
        (["scan.tiff", "photo.heic"], "names of images", "add it to spec.data.train[0].columns.images"),
        *(
            (
                [f"one.{suffix}", f"two.{suffix}"],
                kind,
                "texts and images alone can be trained on: name a column of them, such as transcripts or images of "
                "pages",
            )
            for suffix, kind in (
                ("wav", "names of audio files"),
                ("mp4", "names of videos"),
                ("pdf", "names of PDF files"),
            )
        ),
    ],
)
def test_each_kind_of_name_has_its_own_remedy(
    make_run: MakeRun, claim: Path, names: list[str], kind: str, remedy: str
) -> None:
    named(claim, *names)

    assert told(text_run(make_run)) == (
        Reason.UNSUPPORTED_MODALITY,
        f"spec.data.train[0]: column 'answer' of dataset qa holds {kind} in 2 of 2 texts (for example "
        f"{names[0].partition('?')[0]}), "
        f"{BEHIND}; {remedy}; {MEANT}, add it to spec.data.train[0].columns.texts",
    )


def test_names_of_media_are_texts_where_the_spec_says_so(make_run: MakeRun, claim: Path) -> None:
    named(claim, "one.png", "two.png")
    run = text_run(make_run, columns=PAIR | {"texts": ["answer"]})

    laid_out = lay_out(run)

    assert [row["positive"] for row in read(run.workspace.train_table("qa"))] == ["one.png", "two.png"]
    assert laid_out.warnings == []


def test_a_few_names_among_texts_are_told(make_run: MakeRun, claim: Path) -> None:
    named(claim, "see page.png", *(f"answer {i}" for i in range(49)))

    assert lay_out(text_run(make_run)).warnings == [
        "spec.data.train[0]: column 'answer' of dataset qa holds names of images in 1 of 50 texts (for example see "
        f"page.png), {BEHIND}; add it to spec.data.train[0].columns.images; {MEANT}, add it to "
        "spec.data.train[0].columns.texts"
    ]


def test_addresses_of_what_nobody_knows_are_told(make_run: MakeRun, claim: Path) -> None:
    named(claim, "https://pages.example/1?key=secret", "https://pages.example/2")

    assert lay_out(text_run(make_run)).warnings == [
        "spec.data.train[0]: column 'answer' of dataset qa holds addresses in 2 of 2 texts (for example "
        f"https://pages.example/1), {BEHIND}; for images behind them, add it to spec.data.train[0].columns.images, and "
        f"their hosts to spec.data.allowImageUrls; {MEANT}, add it to spec.data.train[0].columns.texts"
    ]


def test_texts_about_files_are_texts(make_run: MakeRun, claim: Path) -> None:
    named(
        claim, "What is in page.png?", "Write page.png\nand read it", "page.png is broken", "a.b", "x" * 2000 + ".png"
    )

    assert lay_out(text_run(make_run)).warnings == []


def test_names_are_found_in_lists_and_in_lists_of_candidates(make_run: MakeRun, claim: Path) -> None:
    pages: list[Any] = [["a.png", "b.png"], ["c.png"]]
    given(claim, *({"answer": one, "no": one} for one in pages))
    write_jsonl(
        claim / "held-out" / "test.jsonl",
        [{"query": "q", "documents": one, "label": [1.0] * len(one)} for one in pages],
    )
    columns = {"query": "query", "documents": "documents", "label": "label"}
    run = text_run(
        make_run,
        kind="Reranker",
        loss="BinaryCrossEntropyLoss",
        columns=PAIR | {"negatives": ["no"]},
        evaluation=[HELD_OUT | {"columns": columns}],
    )

    reason, message = told(run)

    assert reason is Reason.UNSUPPORTED_MODALITY
    assert message.startswith("3 problems. 1) spec.data.train[0]: column 'answer' of dataset qa holds names of images")
    assert "2) spec.data.train[0]: column 'no' of dataset qa holds names of images in 3 of 3 texts" in message
    assert "3) spec.data.evaluation[0]: column 'documents' of dataset held-out holds names of images" in message
    assert "add it to spec.data.evaluation[0].columns.texts" in message


def test_names_are_found_in_a_corpus(make_run: MakeRun, claim: Path) -> None:
    tables = three_tables(
        claim,
        queries=[{"id": "1", "text": "held out"}],
        corpus=[{"id": "1", "text": "page.png"}, {"id": "2", "text": "other.png"}],
        relevantDocuments=[{"query_id": "1", "corpus_id": "1"}],
    )

    assert told(text_run(make_run, evaluation=[HELD_OUT | {"tables": tables}])) == (
        Reason.UNSUPPORTED_MODALITY,
        "spec.data.evaluation[0].tables.corpus: column 'text' of dataset held-out holds names of images in 2 of 2 "
        f"texts (for example page.png), {BEHIND}; set spec.data.evaluation[0].tables.corpus.images: true; {MEANT}, set "
        "spec.data.evaluation[0].tables.corpus.texts: true",
    )

    tables["corpus"]["texts"] = True
    assert lay_out(text_run(make_run, evaluation=[HELD_OUT | {"tables": tables}])).warnings == []


@pytest.mark.parametrize("column", ["negative", "negatives", "negative_0", "hard_negative", "Neg-1", "neg_doc"])
def test_negatives_that_are_there_and_not_named_are_told(make_run: MakeRun, claim: Path, column: str) -> None:
    given(claim, {column: "no"}, {column: "no"})

    assert lay_out(text_run(make_run)).warnings == [
        f"spec.data.train[0].columns.negatives: none is named, and {column} of dataset qa will not be used; name them "
        "here, or take them out of the dataset"
    ]


def test_negatives_that_are_no_contents_or_of_which_some_are_named_are_left_alone(
    make_run: MakeRun, claim: Path
) -> None:
    given(claim, {"neg": 0, "negation": "no", "n0": "no", "negative_1": "no"})
    run = text_run(make_run, columns=PAIR | {"negatives": ["n0"]})

    assert lay_out(run).warnings == []


def test_negatives_of_an_evaluation_set_are_told(make_run: MakeRun, claim: Path) -> None:
    given(claim, {})
    write_jsonl(
        claim / "held-out" / "test.jsonl",
        [{"question": f"q{i}", "answer": f"a{i}", "negative": "no"} for i in range(2)],
    )

    assert lay_out(text_run(make_run, evaluation=[HELD_OUT | {"columns": PAIR}])).warnings == [
        "spec.data.evaluation[0].columns.negatives: none is named, and negative of dataset held-out will not be used; "
        "name them here, or take them out of the dataset"
    ]


def test_numbers_are_texts_where_the_spec_says_so(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answer": "a"}, {"answer": 5}, {"answer": 1.5}, {"answer": 2.0})
    (claim / "other").mkdir()
    (claim / "other" / "train.csv").write_text("question,answer\nq,7\nq,8\n")
    columns = PAIR | {"texts": ["answer"]}

    assert written(text_run(make_run, columns=columns)) == [("q", "a"), ("q", "5"), ("q", "1.5"), ("q", "2")]
    assert written(text_run(make_run, source="pvc://inputs/other", columns=columns)) == [("q", "7"), ("q", "8")]


def test_what_is_neither_text_nor_number_is_a_bad_row_of_a_column_of_texts(make_run: MakeRun, claim: Path) -> None:
    given(claim, {"answer": "a"}, {"answer": {"text": "a"}}, {"answer": True})
    run = text_run(make_run, columns=PAIR | {"texts": ["answer"]})

    assert told(run) == (
        Reason.BAD_SAMPLES,
        "spec.data.train[0]: dataset qa: 2 rows of 3 cannot be used (row 1: positive: neither text nor number; row 2: "
        "positive: neither text nor number), above maxBadSampleRatio 0.01; mend these rows or raise "
        "data.maxBadSampleRatio",
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_finite_number_is_an_empty_text(make_run: MakeRun, claim: Path, number: float) -> None:
    given(claim, {"answer": 1.5}, {"answer": number})

    assert told(text_run(make_run, columns=PAIR | {"texts": ["answer"]})) == (
        Reason.BAD_SAMPLES,
        "spec.data.train[0]: dataset qa: 1 row of 2 cannot be used (row 1: positive: empty text), above "
        "maxBadSampleRatio 0.01; mend these rows or raise data.maxBadSampleRatio",
    )


@pytest.mark.parametrize(
    "stored", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
@pytest.mark.parametrize("many", [False, True], ids=["texts", "lists"])
def test_texts_may_be_stored_in_any_way(make_run: MakeRun, claim: Path, stored: pa.DataType, many: bool) -> None:
    given(claim, {})
    questions, answers = pa.array(["q", "r"], stored), pa.array(["a", "b"], stored)
    if many:
        answers = pa.ListArray.from_arrays([0, 1, 2], answers)
    (claim / "qa" / "train.jsonl").unlink()
    pq.write_table(pa.table({"question": questions, "answer": answers}), claim / "qa" / "train.parquet")

    assert written(text_run(make_run, columns=PAIR)) == [("q", "a"), ("r", "b")]


@pytest.mark.parametrize("stored", [pa.binary_view(), pa.large_binary()], ids=str)
def test_images_may_be_stored_in_any_way(make_run: MakeRun, claim: Path, stored: pa.DataType) -> None:
    (claim / "qa").mkdir()
    images = pa.array([png(), None, png("blue")], stored)
    pq.write_table(pa.table({"question": ["q", "r", "s"], "answer": images}), claim / "qa" / "train.parquet")

    _, message = told(text_run(make_run, columns=PAIR))

    assert "1 row of 3 cannot be used (row 1: positive: no image)" in message


def test_images_are_no_texts_whatever_the_spec_says(make_run: MakeRun, claim: Path) -> None:
    import datasets

    features = datasets.Features({"question": datasets.Value("string"), "answer": datasets.Image()})
    rows = [{"question": "q", "answer": {"bytes": png(), "path": None}}]
    (claim / "qa").mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(claim / "qa" / "train.parquet")

    assert told(text_run(make_run, columns=PAIR | {"texts": ["answer"]})) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.train[0]: column 'answer' of dataset qa holds Image; text is needed",
    )


def test_ids_may_be_texts_and_whole_numbers_side_by_side(make_run: MakeRun, claim: Path) -> None:
    tables = three_tables(
        claim,
        queries=[{"id": "1", "text": "held out"}],
        corpus=[{"id": 7, "text": "a"}, {"id": "b", "text": "b"}],
        relevantDocuments=[{"query_id": 1, "corpus_id": "7"}],
    )

    (evaluation,) = lay_out(text_run(make_run, evaluation=[HELD_OUT | {"tables": tables}])).evaluations

    assert (evaluation.queries, evaluation.documents) == (1, 2)
