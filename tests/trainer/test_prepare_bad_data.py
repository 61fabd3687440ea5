"""prepare: what is wrong with data is told before an accelerator is asked for, all of it, with what to do."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from finetune_api.contract import MESSAGE_LIMIT, ExitCode
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.images.store import Fault, decode
from finetune_trainer.prepare.rows.texts import is_visible
from finetune_trainer.workspace.failures import RunFailure
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png, write_jsonl, write_pages
from tests.trainer.laying_out import lay_out, read, text_run, told

TEXTS = [{"question": f"question {i}", "answer": f"answer {i}"} for i in range(20)]
PAGES = {"query": "query", "positive": "image"}


def failure_of(run: Run) -> RunFailure:
    with pytest.raises(RunFailure) as failure:
        lay_out(run)
    return failure.value


def write_card(folder: Path, data_files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files: {data_files}\n---\n")


def test_a_missing_split_names_those_that_are_there(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", TEXTS)
    write_jsonl(claim / "qa" / "test.jsonl", TEXTS)

    assert told(text_run(make_run, split="validation")) == (
        Reason.SPLIT_NOT_FOUND,
        "spec.data.train[0].split: 'validation' is not in the dataset; it has train, test",
    )


def test_a_missing_subset_names_those_that_are_there(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", TEXTS)

    assert told(text_run(make_run, subset="english")) == (
        Reason.SPLIT_NOT_FOUND,
        "spec.data.train[0].subset: 'english' is not in the dataset; it has default",
    )


def test_a_subset_must_be_named_where_there_is_no_default(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "one.jsonl", TEXTS)
    write_jsonl(claim / "qa" / "two.jsonl", TEXTS)
    card = (
        "---\nconfigs:\n- config_name: one\n  data_files: one.jsonl\n- config_name: two\n  data_files: two.jsonl\n---\n"
    )
    (claim / "qa" / "README.md").write_text(card)

    assert told(text_run(make_run)) == (
        Reason.SPLIT_NOT_FOUND,
        "spec.data.train[0].subset: the dataset has no default subset; name one of one, two",
    )


def test_missing_columns_of_all_datasets_are_told_at_once(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", TEXTS)
    write_jsonl(claim / "held-out" / "test.jsonl", TEXTS)
    columns = {"query": "title", "positive": "body", "negatives": ["wrong"]}
    evaluation = [{"name": "held-out", "source": "pvc://inputs/held-out", "columns": {"positive": "answer"}}]

    reason, message = told(text_run(make_run, columns=columns, evaluation=evaluation))

    assert reason is Reason.COLUMN_NOT_FOUND
    assert message == (
        "2 problems. 1) spec.data.train[0]: dataset qa, split train, has no column title, body, wrong; it has "
        "question, answer and needs title, body, wrong 2) spec.data.evaluation[0]: dataset held-out, split test, has "
        "no column query; it has question, answer and needs query, answer"
    )


def test_lists_of_queries_are_refused_with_the_way_out(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": ["q", "r"], "answer": "a"}])

    assert told(text_run(make_run)) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.train[0]: column 'question' of dataset qa holds lists; a list is never trained on as it is, expand "
        "it into columns, one value each",
    )


def test_numbers_are_no_texts(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": 1.5}])

    assert told(text_run(make_run)) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.train[0]: column 'answer' of dataset qa holds float64; text or images are needed; add it to "
        "spec.data.train[0].columns.texts to take its numbers as texts",
    )


def test_a_column_of_several_types_is_told(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [*TEXTS, {"question": "q", "answer": 5}])

    assert told(text_run(make_run)) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.train[0]: column 'answer' of dataset qa holds values of several types; text or images are needed "
        "(row 20: 5); add it to spec.data.train[0].columns.texts to take its numbers as texts",
    )


@pytest.mark.parametrize(
    ("answers", "split", "told_first"),
    [
        ([5, "a"], "train", " (row 0: 5)"),
        (["a", "b", 5], "train[1:]", " (row 2: 5)"),
        ([["a"], None, ["b", 5]], "train", " (row 2: 5)"),
        ([["a", 5], ["b"]], "train", " (row 0: 5)"),
        ([[1], [2, 3]], "train", ""),
    ],
    ids=["the first row", "a slice", "a list", "the first list", "numbers alone"],
)
def test_the_first_number_among_texts_is_told_by_row(
    make_run: MakeRun, claim: Path, answers: list[object], split: str, told_first: str
) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": answer} for answer in answers])

    _, message = told(text_run(make_run, split=split))

    assert f" needed{told_first}; add it to spec.data.train[0].columns.texts" in message


def test_a_corpus_is_either_text_or_images(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", TEXTS)
    features = datasets.Features(
        {"query": datasets.Value("string"), "image": datasets.Image(), "no": datasets.Value("string")}
    )
    row = {"query": "q", "image": {"bytes": png(), "path": None}, "no": "text"}
    (claim / "held-out").mkdir()
    datasets.Dataset.from_list([row], features=features).to_parquet(claim / "held-out" / "test.parquet")
    evaluation = [{"name": "held-out", "source": "pvc://inputs/held-out", "columns": PAGES | {"negatives": ["no"]}}]

    assert told(text_run(make_run, evaluation=evaluation)) == (
        Reason.INVALID_ARGUMENT,
        "spec.data.evaluation[0].columns: documents must be all text or all images, but they are image "
        "(image), no (text)",
    )


def test_an_empty_split_is_told(make_run: MakeRun, claim: Path) -> None:
    (claim / "qa").mkdir()
    features = datasets.Features({"question": datasets.Value("string"), "answer": datasets.Value("string")})
    datasets.Dataset.from_dict({"question": [], "answer": []}, features=features).to_parquet(
        claim / "qa" / "train.parquet"
    )

    assert told(text_run(make_run)) == (
        Reason.EMPTY_DATASET,
        "spec.data.train[0]: split 'train' of dataset qa has no rows",
    )


def test_a_folder_without_data_is_told(make_run: MakeRun, claim: Path) -> None:
    (claim / "qa").mkdir()
    (claim / "qa" / "notes.md").write_text("nothing here")

    assert told(text_run(make_run)) == (
        Reason.DATASET_NOT_FOUND,
        "spec.data.train[0]: files as notes.md are no rows that can be read; "
        "give parquet, JSON lines, CSV or an image folder",
    )


def test_an_empty_folder_is_told(make_run: MakeRun, claim: Path) -> None:
    (claim / "qa").mkdir()

    assert told(text_run(make_run)) == (
        Reason.DATASET_NOT_FOUND,
        "spec.data.train[0]: the dataset has no files; give parquet, JSON lines, CSV or an image folder",
    )


def test_unreadable_images_above_the_ratio_are_counted_and_named(make_run: MakeRun, claim: Path) -> None:
    whole, cut = png("red"), png("blue")[:60]
    images = [whole, cut, None, b"GIF89a no image", whole, cut, cut, cut, cut, whole]
    write_pages(claim / "qa", train=[{"query": f"question {i}", "image": image} for i, image in enumerate(images)])

    reason, message = told(text_run(make_run, columns=PAGES))

    assert reason is Reason.BAD_SAMPLES
    assert message == (
        "spec.data.train[0]: dataset qa: 7 rows of 10 cannot be used (row 1: positive: image cannot be decoded; "
        "row 2: positive: no image; row 3: positive: image cannot be decoded; row 5: positive: image cannot be decoded"
        "; row 6: positive: image cannot be decoded, ...), above maxBadSampleRatio 0.01; mend these rows or raise "
        "data.maxBadSampleRatio"
    )


def test_bad_rows_below_the_ratio_are_left_out_with_a_warning(make_run: MakeRun, claim: Path) -> None:
    rows = [{"id": f"no-{i}", "question": "" if i == 7 else f"q{i}", "answer": "a"} for i in range(200)]
    write_jsonl(claim / "qa" / "train.jsonl", rows)
    run = text_run(make_run)

    written = lay_out(run)

    assert written.warnings == [
        "spec.data.train[0]: dataset qa: 1 row of 200 cannot be used (row 7 (id no-7): query: empty text); "
        "they are left out"
    ]
    assert (written.datasets[0].rows, written.datasets[0].skipped) == (199, 1)
    assert "q7" not in {row["query"] for row in read(run.workspace.train_table("qa"))}


INVISIBLE = ["", " ", "\n", "\u200b\u200b", "\ufeff", "\u00ad", "\0\0", "\u3164", "\u2800", "\ufe0f", "\u202e\u2066"]
VISIBLE = ["?", "é", "e\u0301", "漢", "🙂", "\U0001f468\u200d\U0001f469", "\ue000"]


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_texts_without_a_visible_character_are_empty(text: str) -> None:
    assert not is_visible(text)
    assert is_visible(f"{text}a")


def test_texts_of_signs_letters_and_pictures_are_visible() -> None:
    assert [text for text in VISIBLE if not is_visible(text)] == []


def test_rows_of_invisible_texts_are_bad_rows(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [*TEXTS, {"question": "\u200b\u200b", "answer": "a"}])

    reason, message = told(text_run(make_run))

    assert (reason, "row 20: query: empty text" in message) == (Reason.BAD_SAMPLES, True)


def test_texts_with_tokens_of_the_model_s_own_media_are_bad_rows(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [*TEXTS, {"question": "What is <|image_pad|>?", "answer": "a"}])
    write_jsonl(claim / "held-out" / "test.jsonl", [{"question": "q", "answer": ["a", "it is <|video_pad|>"]}])
    columns = {"query": "question", "positive": "answer"}
    evaluation = [{"name": "held-out", "source": "pvc://inputs/held-out", "columns": columns}]

    with pytest.raises(RunFailure) as failure:
        lay_out(text_run(make_run, evaluation=evaluation), tokens=("<|image_pad|>", "<|video_pad|>"))

    assert failure.value.reason is Reason.BAD_SAMPLES
    because = "which the model takes for an image, video or sound; write it otherwise"
    assert f"row 20: query: text holds <|image_pad|>, {because}" in failure.value.message
    assert f"row 0: positive: value 1 of the list: text holds <|video_pad|>, {because}" in failure.value.message


def test_a_csv_file_with_another_separator_throughout_is_told(make_run: MakeRun, claim: Path) -> None:
    (claim / "qa").mkdir()
    (claim / "qa" / "train.csv").write_text("question;answer\nq;a\n")

    assert told(text_run(make_run)) == (
        Reason.COLUMN_NOT_FOUND,
        "spec.data.train[0]: dataset qa, split train, has no column question, answer; it has question;answer and needs "
        "question, answer; separate fields by ',', not by ';'",
    )


@pytest.mark.parametrize("name", ["inputs [1]", "inputs*"])
def test_a_folder_that_the_library_takes_for_a_pattern_is_refused_by_name(
    make_run: MakeRun, claim: Path, name: str
) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", TEXTS)
    real = claim.rename(claim.with_name(name))
    claim.symlink_to(real)

    assert told(text_run(make_run)) == (
        Reason.DATASET_NOT_FOUND,
        f"spec.data.train[0]: dataset qa lies in {real / 'qa'}, and the datasets library takes *, ? and [ ] in the "
        "name of a folder for a pattern; name a workspace and folders of claims without them",
    )


def test_a_workspace_with_brackets_is_no_pattern_where_only_the_cache_is_in_it(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", TEXTS)
    run = text_run(make_run)
    workspace = Workspace(run.workspace.root.with_name("ws [v2]"))
    workspace.root.mkdir()

    lay_out(replace(run, settings=replace(run.settings, workspace=workspace)))

    assert len(read(workspace.train_table("qa"))) == len(TEXTS)


def test_bad_rows_of_all_datasets_are_told_at_once(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": " ", "answer": "a"}, {"question": "q", "answer": "a"}])
    answers = [None, "a", "b"]
    write_jsonl(claim / "held-out" / "test.jsonl", [{"question": f"q {one}", "answer": one} for one in answers])
    columns = {"query": "question", "positive": "answer"}
    evaluation = [{"name": "held-out", "source": "pvc://inputs/held-out", "columns": columns}]

    reason, message = told(text_run(make_run, evaluation=evaluation))

    assert reason is Reason.BAD_SAMPLES
    assert message.startswith("2 problems. 1) spec.data.train[0]: dataset qa: 1 row of 2 cannot be used")
    assert "2) spec.data.evaluation[0]: dataset held-out: 1 row of 3 cannot be used" in message


def test_image_paths_never_leave_the_dataset(make_run: MakeRun, claim: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    (claim / "qa").mkdir()
    (claim / "secret.png").write_bytes(png())
    (claim / "qa" / "here.png").write_bytes(png("green"))
    write_raw_paths(
        claim / "qa", [str(tmp_path / "secret.png"), "../secret.png", "http://127.0.0.1:9/x.png", "here.png"]
    )
    run = text_run(make_run, columns=PAGES)

    message = failure_of(run).message

    assert "row 0: positive: image path leads out of the dataset" in message
    assert "row 1: positive: image path leads out of the dataset" in message
    assert "row 2: positive: image at an address that is not plain https://HOST/PATH" in message
    assert "3 rows of 4" in message
    assert str(tmp_path) not in message


def write_raw_paths(folder: Path, paths: list[str]) -> None:
    """Write an image column that holds paths, byte for byte as given."""
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = pa.array(
        [{"bytes": None, "path": path} for path in paths], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    queries = pa.array([f"q{i}" for i in range(len(paths))])
    features = {"query": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}}
    table = pa.table({"query": queries, "image": cells})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}),
        folder / "train.parquet",
    )


@pytest.mark.parametrize(
    ("data_files", "told_as"),
    [
        ("/etc/passwd", "/etc/passwd, which is no file of rows in the dataset"),
        ("../../secret.jsonl", "files outside the dataset, which are never read"),
        ("http://127.0.0.1:9/rows.jsonl", "http://127.0.0.1:9/rows.jsonl, which is no file of rows in the dataset"),
    ],
)
def test_a_card_cannot_make_files_outside_the_dataset_be_read(
    make_run: MakeRun, claim: Path, tmp_path: Path, data_files: str, told_as: str
) -> None:
    write_jsonl(tmp_path / "claims" / "secret.jsonl", [{"question": "token", "answer": "token"}])
    write_card(claim / "qa", data_files)

    assert told(text_run(make_run)) == (
        Reason.UNREADABLE_DATASET,
        f"spec.data.train[0]: dataset qa: README.md names {told_as}; correct its data_files",
    )
    assert not run_inputs(tmp_path).exists()


def run_inputs(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / "inputs" / "data" / "train.parquet"


def test_a_link_out_of_the_claim_is_refused(make_run: MakeRun, claim: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "secret.jsonl", TEXTS)
    (claim / "qa").mkdir()
    (claim / "qa" / "train.jsonl").symlink_to(tmp_path / "secret.jsonl")

    assert told(text_run(make_run)) == (
        Reason.DATASET_NOT_FOUND,
        "spec.data.train[0].source: a path of claim inputs leads out of the claim; replace the link by the file",
    )


def test_pickles_are_never_read(make_run: MakeRun, claim: Path) -> None:
    (claim / "qa").mkdir()
    (claim / "qa" / "train.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    assert told(text_run(make_run)) == (
        Reason.DATASET_NOT_FOUND,
        "spec.data.train[0]: files as train.pkl are no rows that can be read; "
        "give parquet, JSON lines, CSV or an image folder",
    )


def test_scripts_of_datasets_are_never_run(make_run: MakeRun, claim: Path) -> None:
    (claim / "qa").mkdir()
    (claim / "qa" / "qa.py").write_text(f"import pathlib\npathlib.Path({str(claim / 'made')!r}).touch()\n")

    assert told(text_run(make_run)) == (
        Reason.DATASET_NOT_FOUND,
        "spec.data.train[0]: the dataset needs code of its own, which is never run; convert it to parquet",
    )
    assert not (claim / "made").exists()


def test_all_sources_that_are_missing_are_told_at_once(make_run: MakeRun, hub: RunningHub) -> None:
    run = make_run(
        model={"source": "hf://demo/no-model", "revision": "v2"},
        data={
            "train": [{"name": "a", "source": "hf://demo/no-data"}],
            "evaluation": [{"name": "b", "source": "pvc://nowhere/x", "columns": {}}],
        },
    ).at(hub.endpoint)

    failure = failure_of(run)

    assert failure.exit_code is ExitCode.BAD_DATA
    assert failure.message == (
        "3 problems. 1) spec.data.train[0].source: dataset demo/no-data at main is not found; it does not exist, or it "
        "is private and hub.tokenSecret is missing or has no access to it 2) spec.data.evaluation[0].source: "
        "pvc://nowhere/x is no folder; the claim holds nothing, or is not mounted 3) spec.model.source: model "
        "demo/no-model at v2 is not found; it does not exist, or it is private and hub.tokenSecret is missing or has "
        "no access to it"
    )


def test_many_problems_fit_into_a_message(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{f"column-{i:03}-{'x' * 50}": "text" for i in range(40)}])
    negatives = [f"missing-{i}-{'y' * 90}" for i in range(30)]

    failure = failure_of(text_run(make_run, columns={"query": "q", "positive": "p", "negatives": negatives}))

    assert failure.reason is Reason.COLUMN_NOT_FOUND
    assert 100 < len(failure.message) <= MESSAGE_LIMIT


def claiming_size(content: bytes, width: int, height: int) -> bytes:
    """Return the PNG with another size in its header."""
    header = content[12:16] + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def test_a_bomb_and_a_sliver_are_no_images() -> None:
    bomb = claiming_size(png(), 20_000, 20_000)
    sliver = png(size=(400, 2))

    faults = [decode(bomb), decode(sliver)]

    assert faults == [
        Fault("image has more than 100000000 pixels"),
        Fault("image is more than 199 times longer than wide"),
    ]
