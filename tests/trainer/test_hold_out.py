"""holdOut: rows of a training set become an evaluation set, and nothing is on both sides."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as with_any
from hypothesis import settings
from hypothesis import strategies as st

from finetune_api.evaluators import Evaluator
from finetune_api.reasons import Reason
from finetune_trainer.prepare.layout.groups import choose_groups, group_rows
from finetune_trainer.prepare.layout.writing import WrittenInputs
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.laying_out import lay_out, read, text_run, told

WHERE = "spec.data.train[0]: dataset qa"
PAIR = {"query": "question", "document": "answer", "label": "score"}
NEGATIVES = {"query": "question", "positive": "answer", "negatives": ["wrong"]}


def qa(index: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - cells
    return {"question": f"question {index}", "answer": f"answer {index}", **more}


def values_of(cell: Any) -> list[str]:  # noqa: ANN401 - a cell
    if isinstance(cell, list):
        return [value for value in cell if isinstance(value, str)]
    return [cell] if isinstance(cell, str) else []


def contents(path: Path) -> set[str]:
    """Return every text and image path of a prepared table; not the ids of an evaluation's."""
    return {
        value
        for row in read(path)
        for name, cell in row.items()
        if not name.endswith("id")
        for value in values_of(cell)
    }


def sides(run: Run, name: str = "qa") -> tuple[set[str], set[str]]:
    """Return all texts and images to train on, and those of the set that is held out of `name`."""
    train = set().union(*(contents(path) for path in (run.workspace.inputs / "data" / "train").glob("*.parquet")))
    held = run.workspace.evaluation_folder(f"{name}-held-out").glob("*.parquet")
    return train, set().union(*(contents(path) for path in held if path.stem not in ("relevant", "candidates")))


def rows_of(written: WrittenInputs) -> dict[str, int]:
    return {dataset.name: dataset.rows for dataset in written.datasets}


def test_a_share_of_the_rows_becomes_an_evaluation_set(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [qa(index) for index in range(40)])
    run = text_run(make_run, holdOut="5%")

    written = lay_out(run)

    train, held = sides(run)
    evaluation = written.evaluations[0]
    assert rows_of(written) == {"qa": 38, "qa-held-out": 2}
    assert (evaluation.name, evaluation.evaluator, evaluation.queries, evaluation.documents) == (
        "qa-held-out",
        Evaluator.INFORMATION_RETRIEVAL,
        2,
        2,
    )
    assert written.datasets[0].revision == written.datasets[1].revision
    assert (train & held, train | held) == (set(), {cell for index in range(40) for cell in qa(index).values()})
    assert written.warnings == []


def test_the_same_rows_are_held_out_again_and_others_with_another_seed(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [qa(index) for index in range(100)])
    found = []
    for seed in (1, 1, 2):
        run = text_run(make_run, holdOut=10)
        spec = run.config.spec
        training = spec.training.model_copy(update={"seed": seed})
        seeded = run.config.model_copy(update={"spec": spec.model_copy(update={"training": training})})
        run = Run(config=seeded, settings=run.settings)
        lay_out(run)
        found.append(sides(run)[1])

    assert found[0] == found[1] != found[2]
    assert len(found[2]) == 20


def test_rows_that_share_a_query_or_an_answer_stay_together(make_run: MakeRun, claim: Path) -> None:
    groups = [
        [qa(10 * n), qa(10 * n) | {"answer": f"other {n}"}, qa(10 * n + 1) | {"answer": f"other {n}"}] for n in range(9)
    ]
    write_jsonl(claim / "qa" / "train.jsonl", [row for group in groups for row in group])
    run = text_run(make_run, holdOut=7)

    written = lay_out(run)

    train, held = sides(run)
    assert rows_of(written) == {"qa": 21, "qa-held-out": 6}
    assert train & held == set()
    assert written.warnings == [
        "spec.data.train[0].holdOut: 6 rows are held out instead of 7: rows that share a query or an answer go "
        "together, and no other group is small enough"
    ]


def test_a_text_that_is_a_query_of_one_row_and_an_answer_of_another_joins_them(make_run: MakeRun, claim: Path) -> None:
    chain = [{"question": f"text {n}", "answer": f"text {n + 1}"} for n in range(40) if n % 4 != 3]
    write_jsonl(claim / "qa" / "train.jsonl", chain)
    run = text_run(make_run, holdOut="20%")

    written = lay_out(run)

    train, held = sides(run)
    assert (rows_of(written), train & held) == ({"qa": 24, "qa-held-out": 6}, set())


def test_pages_are_told_apart_by_what_they_show(make_run: MakeRun, claim: Path) -> None:
    colors = ["red", "green", "blue", "black"]
    rows = [{"query": f"{word} {color}", "image": png(color)} for word in ("a", "one") for color in colors]
    write_pages(claim / "qa", train=rows)
    run = text_run(make_run, columns={"query": "query", "positive": "image"}, holdOut=5)

    written = lay_out(run)

    train, held = sides(run)
    assert (rows_of(written), train & held) == ({"qa": 4, "qa-held-out": 4}, set())
    assert written.evaluations[0].documents == 2


def test_documents_held_out_are_no_negatives_of_what_is_trained_on(make_run: MakeRun, claim: Path) -> None:
    """Each negative is another row's answer, as mined ones are: they hold no rows together."""
    rows = [qa(n, wrong=[f"answer {(n + step) % 50}" for step in range(1, 6)]) for n in range(50)]
    write_jsonl(claim / "qa" / "train.jsonl", rows)
    run = text_run(make_run, columns=NEGATIVES, holdOut="20%")

    written = lay_out(run)

    train, held = sides(run)
    table = read(run.workspace.train_table("qa"))
    removed = next(note for note in written.warnings if "among those held out" in note)
    assert train & held == set()
    assert rows_of(written) == {"qa": 40, "qa-held-out": 10}
    assert 0 < len([name for name in table[0] if name.startswith("negative_")]) < 5
    assert removed.endswith(
        " documents that answer nothing are among those held out; they are left out of the rows to train on"
    )


def test_scores_go_with_the_negatives_that_are_left(make_run: MakeRun, claim: Path) -> None:
    rows = [
        qa(
            n,
            wrong=[f"answer {(n + step) % 30}" for step in (1, 2, 3)],
            score=[100.0 + n, *((n + step) % 30 for step in (1, 2, 3))],
        )
        for n in range(30)
    ]
    write_jsonl(claim / "qa" / "train.jsonl", rows)
    run = text_run(make_run, columns=NEGATIVES | {"label": "score"}, loss="DistillKLDivLoss", holdOut="20%")

    lay_out(run)

    train, held = sides(run)
    table = read(run.workspace.train_table("qa"))
    assert train & held == set()
    for row in table:
        negatives = [value for name, value in row.items() if name.startswith("negative_")]
        number = int(row["query"].split()[1])
        assert row["label"] == [100.0 + number, *(float(value.split()[1]) for value in negatives)]


def test_mined_negatives_are_found_among_what_is_trained_on(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [qa(index) for index in range(20)])
    run = text_run(make_run, holdOut="50%", mineNegatives={"numNegatives": 1})
    seen: list[str] = []

    def mine(examples: Any, columns: Any) -> Any:  # noqa: ANN401 - as the miner's
        seen.extend(document for example in examples for document in example.documents)
        return []

    with pytest.raises(Exception, match="no row has 1 negatives"):
        lay_out(run, miner_of=lambda _: mine)

    assert len(seen) == 10
    assert sides(run)[1].isdisjoint(seen)


def test_lists_of_a_reranker_lose_the_candidates_that_are_on_the_other_side(make_run: MakeRun, claim: Path) -> None:
    rows = [
        {
            "question": f"question {n}",
            "answer": [f"answer {n}", *(f"answer {(n + s) % 40}" for s in (1, 2, 3)), f"own {n}"],
            "score": [1.0, 0, 0, 0, 0],
        }
        for n in range(40)
    ]
    write_jsonl(claim / "qa" / "train.jsonl", rows)
    columns = {"query": "question", "documents": "answer", "label": "score"}
    run = text_run(make_run, kind="Reranker", loss="LambdaLoss", columns=columns, holdOut="25%")

    written = lay_out(run)

    train, held = sides(run)
    assert written.evaluations[0].evaluator is Evaluator.RERANKING
    assert rows_of(written) == {"qa": 30, "qa-held-out": 10}
    assert train & held == set()
    assert {f"own {text.split()[1]}" for text in held if text.startswith("question")} <= held
    assert all(len(row["documents"]) == len(row["label"]) for row in read(run.workspace.train_table("qa")))


def test_labeled_pairs_are_measured_by_their_labels(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [qa(n, score=0.5 + n / 100) for n in range(20)])
    run = text_run(make_run, loss="CoSENTLoss", columns=PAIR, holdOut="10%")

    written = lay_out(run)

    assert written.evaluations[0].evaluator is Evaluator.EMBEDDING_SIMILARITY
    assert len(read(run.workspace.evaluation_folder("qa-held-out") / "rows.parquet")) == 2
    assert len(read(run.workspace.train_table("qa"))) == 18


def test_a_pair_of_two_that_do_not_belong_together_is_left_out_where_they_are_on_two_sides(
    make_run: MakeRun, claim: Path
) -> None:
    right = [qa(n, score=1) for n in range(20)]
    answers = [f"answer {(n + 1) % 20}" if n % 2 else f"wrong {n}" for n in range(20)]
    wrong = [{"question": f"question {n}", "answer": answer, "score": 0} for n, answer in enumerate(answers)]
    write_jsonl(claim / "qa" / "train.jsonl", [*right, *wrong])
    run = text_run(make_run, kind="Reranker", loss="BinaryCrossEntropyLoss", columns=PAIR, holdOut="25%")

    written = lay_out(run)

    train, held = sides(run)
    counts = rows_of(written)
    assert train & held == set()
    assert counts["qa-held-out"] >= 5
    assert any(
        " rows share texts or images with rows that are held out; they are left out" in one for one in written.warnings
    )


def test_what_is_held_out_of_one_set_is_in_no_other(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [qa(n) for n in range(20)])
    write_jsonl(claim / "more" / "train.jsonl", [qa(n) | {"question": f"asked otherwise {n}"} for n in range(12, 30)])
    columns = {"query": "question", "positive": "answer"}
    sets = [
        {"name": "qa", "source": "pvc://inputs/qa", "columns": columns, "holdOut": 15},
        {"name": "more", "source": "pvc://inputs/more", "columns": columns},
    ]
    run = make_run(model={"source": "pvc://inputs/model"}, data={"train": sets})

    written = lay_out(run)

    train, held = sides(run)
    assert train & held == set()
    # Rows that no other set has are taken first: 12 of them, and 3 that cost the other set a row.
    assert rows_of(written) == {"qa": 5, "more": 15, "qa-held-out": 15}
    assert written.warnings == [
        "spec.data.train[1]: dataset more: 3 rows share texts or images with rows that are held out; they are left out"
    ]


def test_several_sets_hold_out_each_its_own(make_run: MakeRun, claim: Path) -> None:
    columns = {"query": "question", "positive": "answer"}
    for name, first in (("one", 0), ("two", 10)):
        write_jsonl(
            claim / name / "train.jsonl", [qa(n) | {"question": f"{name} {n}"} for n in range(first, first + 20)]
        )
    sets = [
        {"name": name, "source": f"pvc://inputs/{name}", "columns": columns, "holdOut": "25%"}
        for name in ("one", "two")
    ]
    run = make_run(model={"source": "pvc://inputs/model"}, data={"train": sets})

    written = lay_out(run)

    assert rows_of(written) == {"one": 15, "two": 15, "one-held-out": 5, "two-held-out": 5}
    for name in ("one", "two"):
        train, held = sides(run, name)
        assert train & held == set()


def test_a_limit_and_a_slice_come_first(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [qa(n) for n in range(100)])
    run = text_run(make_run, split="train[50%:]", limit=20, holdOut="10%")

    written = lay_out(run)

    train, held = sides(run)
    assert rows_of(written) == {"qa": 18, "qa-held-out": 2}
    assert train | held == {cell for n in range(50, 70) for cell in qa(n).values()}


def test_a_row_that_cannot_be_used_is_told_of_the_training_set(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [qa(n) | ({"answer": " "} if n == 17 else {}) for n in range(200)])
    run = text_run(make_run, holdOut="20%")

    written = lay_out(run)

    assert rows_of(written) == {"qa": 159, "qa-held-out": 40}
    assert written.warnings == [
        f"{WHERE}: 1 row of 160 cannot be used (row 17: positive: empty text); they are left out"
    ]


REFUSED: dict[str, tuple[list[dict[str, Any]], Any, str]] = {
    "everything hangs together": (
        [{"question": "the same", "answer": f"answer {n}"} for n in range(40)],
        "5%",
        "that is 2 of 40 rows, and rows that share a query or an answer, directly or through others, go together: they "
        "make one group of 40 rows; name a set in data.evaluation",
    ),
    "a few large groups": (
        [{"question": f"the same {n % 4 // 3}", "answer": f"answer {n}"} for n in range(40)],
        3,
        "that is 3 of 40 rows, and rows that share a query or an answer, directly or through others, go together: they "
        "make 2 groups of 10 to 30 rows; hold more out, or name a set in data.evaluation",
    ),
    "more than there are": (
        [qa(n) for n in range(10)],
        10,
        "10 of 10 usable rows leave none to train on; hold less out, or name a set in data.evaluation",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_cannot_be_divided_are_told_with_numbers(make_run: MakeRun, claim: Path, case: str) -> None:
    rows, hold_out, because = REFUSED[case]
    write_jsonl(claim / "qa" / "train.jsonl", rows)

    assert told(text_run(make_run, holdOut=hold_out)) == (
        Reason.INVALID_ARGUMENT,
        f"spec.data.train[0].holdOut: {hold_out!r} is wrong because {because}",
    )


def test_a_set_that_would_be_left_without_a_row_is_told(make_run: MakeRun, claim: Path) -> None:
    columns = {"query": "question", "positive": "answer"}
    together = [{"question": "the same", "answer": f"answer {n}"} for n in (1, 2, 3)]
    write_jsonl(claim / "one" / "train.jsonl", [qa(0), *together])
    write_jsonl(claim / "two" / "train.jsonl", [qa(0)])
    one, two = ({"name": name, "source": f"pvc://inputs/{name}", "columns": columns} for name in ("one", "two"))
    run = make_run(model={"source": "pvc://inputs/model"}, data={"train": [one | {"holdOut": 1}, two]})

    assert told(run) == (
        Reason.EMPTY_DATASET,
        "spec.data.train[1]: dataset two: every row shares a query or an answer with rows that are held out; leave the "
        "set or holdOut out",
    )


def test_a_reranking_set_of_which_nothing_is_left_to_rank_is_told(make_run: MakeRun, claim: Path) -> None:
    rows = [qa(n, wrong=f"answer {(n + 1) % 40}") for n in range(40)]
    write_jsonl(claim / "qa" / "train.jsonl", rows)
    run = text_run(make_run, kind="Reranker", columns=NEGATIVES, holdOut=1)

    assert told(run) == (
        Reason.EMPTY_DATASET,
        "spec.data.train[0].holdOut: dataset qa-held-out: the documents that answer nothing are all trained on, so "
        "that there is nothing to rank; name a set in data.evaluation instead",
    )


@settings(max_examples=60, deadline=None)
@with_any(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=3), min_size=1, max_size=40), st.integers(0, 5))
def test_no_key_is_in_two_groups_and_no_target_is_passed(rows: list[list[int]], seed: int) -> None:
    known = {key: number for number, key in enumerate(dict.fromkeys(key for row in rows for key in row))}
    keys = [[known[key] for key in row] for row in rows]

    groups = group_rows(keys)

    sizes = {group: {0: groups.count(group)} for group in groups}
    target = random.Random(seed).randint(1, len(rows))
    chosen = choose_groups(sizes, {0: target}, seed=seed)
    by_side = [
        {key for row, group in zip(keys, groups, strict=True) if (group in chosen) is side for key in row}
        for side in (True, False)
    ]
    assert by_side[0].isdisjoint(by_side[1])
    assert sum(group in chosen for group in groups) <= target
    assert choose_groups(sizes, {0: target}, seed=seed) == chosen
