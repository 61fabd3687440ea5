"""The inputs of the reranker example: questions, the pages that answer them among others, and the base model."""

from pathlib import Path

from examples.inputs.page_candidates import NUM_CANDIDATES, build, build_candidate_rows
from examples.inputs.pages import build_questions, split_pages
from examples.inputs.tiny_reranker import build as build_model


def test_candidates_are_other_pages_each_drawn_once() -> None:
    held_out = split_pages().held_out

    rows = list(build_candidate_rows(held_out, seed=1))

    images = [row["image"]["bytes"] for row in rows]
    candidates = [{row["image"]["bytes"], *(negative["bytes"] for negative in row["negatives"])} for row in rows]
    assert len(set(images)) == len(held_out)
    assert {len(one) for one in candidates} == {NUM_CANDIDATES}
    assert set().union(*candidates) == set(images)


def test_equal_seeds_give_equal_candidates_and_other_seeds_other_ones() -> None:
    held_out = split_pages().held_out

    first, again, other = (list(build_candidate_rows(held_out, seed=seed)) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_the_dataset_loads_with_questions_about_held_out_pages_alone(tmp_path: Path) -> None:
    from datasets import load_dataset

    build(tmp_path / "built")

    rows = load_dataset(str(tmp_path / "built"), split="eval", cache_dir=str(tmp_path / "cache"))
    trained = {question for page in split_pages().train for question in build_questions(page)}
    assert (len(rows), rows.column_names) == (96, ["query", "image", "negatives"])
    assert {len(negatives) for negatives in rows["negatives"]} == {NUM_CANDIDATES - 1}
    assert not set(rows["query"]) & trained


def test_the_rerankers_base_model_has_a_token_for_each_role_and_for_yes_and_no(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    build_model(tmp_path)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert [len(tokenizer.encode(word)) for word in ("0", "1", "query", "document", "assistant")] == [1, 1, 1, 1, 1]
