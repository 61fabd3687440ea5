"""The texts of the example with two sets: questions about pages, and passages that describe them in other words."""

from pathlib import Path

from datasets import load_dataset

from examples.inputs.page_drawing import Page
from examples.inputs.page_questions import build, build_rows
from examples.inputs.pages import build_questions, split_pages


def test_a_question_is_answered_by_a_passage_that_says_the_same_in_other_words() -> None:
    page = Page(color="red", kind="table", place="top left", header="cyan")

    (row,) = build_rows([page], seed=0)

    assert row["question"] in build_questions(page)
    assert row["passage"] == "sheet of a report: table, red, placed top left; above it a band in cyan"


def test_the_dataset_loads_and_holds_out_the_pages_that_are_held_out(tmp_path: Path) -> None:
    build(tmp_path / "built")

    rows = load_dataset(str(tmp_path / "built"), cache_dir=str(tmp_path / "cache"))
    trained, held_out = set(rows["train"]["passage"]), set(rows["eval"]["passage"])
    pages = split_pages()
    assert rows["train"].column_names == ["question", "passage"]
    assert (len(rows["train"]), len(trained)) == (len(set(pages.train)),) * 2
    assert (len(rows["eval"]), len(held_out)) == (len(pages.held_out),) * 2
    assert not trained & held_out
