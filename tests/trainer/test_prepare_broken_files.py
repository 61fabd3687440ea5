"""prepare: a file that cannot be read is named, with the place in it, the cause and what to do."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_api.contract import ExitCode, exit_code_of
from finetune_api.reasons import Reason
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, write_jsonl
from tests.trainer.laying_out import text_run, told, written
from tests.trainer.test_prepare import push

ROW = b'{"question": "q", "answer": "a"}\n'
QUOTED_COMMA = "put fields that hold ',' between double quotes"
SAME = "give all files of a split the same columns and types"
ANEW = "copy or write the file anew"


def parquet(compression: str = "snappy", **columns: Any) -> bytes:  # noqa: ANN401 - columns as pyarrow takes them
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, compression=compression)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.jsonl", content)
    return file.getvalue()


def text_of(*values: bytes) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return a column of texts that nobody has looked at."""
    return pa.array(values, pa.binary()).view(pa.string())


def card(**head: Any) -> bytes:  # noqa: ANN401 - YAML
    return f"---\n{json.dumps(head)}\n---\n".encode()


WHOLE = parquet(question=["q"] * 9, answer=["a"] * 9)
TORN = parquet(question=["q"] * 900, answer=[str(i) for i in range(900)])[:-100]
GARBLED = WHOLE[:4] + b"\xff" * 20 + WHOLE[24:]
MANY_NUMBERS = b"question,answer\n" + b"q,1\n" * 10_000
LONG_ROW = json.dumps({"question": "q" * 100_000, "answer": "a"}).encode() + b"\n"

BROKEN: dict[str, tuple[dict[str, bytes], str]] = {
    "half of a surrogate pair": (
        {"train.jsonl": ROW * 2 + b'{"question": "a cut \\ud83d", "answer": "a"}\n' + ROW},
        'train.jsonl, line 3: half of a surrogate pair (\\ud83d in {"question": "a cut \\ud83d", "answer": "a"}); '
        "write the whole character or none",
    ),
    "half of a surrogate pair in a list of rows": (
        {"train.json": b'[{"question": "q", "answer": "a"}, {"question": "\\ude00", "answer": "a"}]'},
        'train.json, row 1: half of a surrogate pair (\\ude00 in {"question": "\\ude00", "answer": "a"}); '
        "write the whole character or none",
    ),
    "parquet of a few bytes": (
        {"train.parquet": b"PAR1 no"},
        f"train.parquet: the parquet file has no end; it is cut off after 7 bytes; {ANEW}",
    ),
    "parquet cut off, one of three": (
        {"train-0.parquet": WHOLE, "train-1.parquet": TORN, "train-2.parquet": WHOLE},
        f"train-1.parquet: the parquet file has no end; it is cut off after {len(TORN)} bytes; {ANEW}",
    ),
    "parquet with a broken footer": (
        {"train.parquet": b"PAR1" + b"\xff" * 8 + b"\x04\x00\x00\x00PAR1"},
        "train.parquet: its parquet footer is broken (OSError: Couldn't deserialize thrift: don't know what type: "
        f"\\x0f); {ANEW}",
    ),
    "parquet with broken rows": (
        {"train.parquet": GARBLED},
        "train.parquet: the rows from row 0 on cannot be read (OSError: Couldn't deserialize thrift: "
        f"don't know what type: \\x0f Deserializing page header failed.); {ANEW}",
    ),
    "another file named parquet": (
        {"train.parquet": b"<html>not found</html>"},
        f"train.parquet: no parquet file; it begins with <html>not found</html>; {ANEW}",
    ),
    "parquet with texts of another encoding": (
        {"train.parquet": parquet(question=text_of(b"q", b"M\xfcll"), answer=["a", "b"])},
        "train.parquet, row 1: column question is not UTF-8 (byte 0xFC in M\\xfcll); write its texts in UTF-8",
    ),
    "a pointer of Git LFS": (
        {"train.parquet": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"},
        "train.parquet: it is a pointer of Git LFS, not the file; fetch the file with `git lfs pull`, then copy it",
    ),
    "an empty parquet file among others": (
        {"train-0.parquet": WHOLE, "train-1.parquet": b""},
        "train-1.parquet: it has no rows, as other files of the split have; delete it",
    ),
    "parquet with other columns": (
        {"train-0.parquet": WHOLE, "train-1.parquet": parquet(question=["q"], reply=["a"])},
        f"train-1.parquet: it has reply, which train-0.parquet has not; {SAME}",
    ),
    "parquet with other types": (
        {"train-0.parquet": WHOLE, "train-1.parquet": parquet(question=["q"], answer=[[1]])},
        f"train-1.parquet: column answer holds list<item: int64> (string in train-0.parquet); {SAME}",
    ),
    "another file named arrow": (
        {"train.arrow": b"no rows"},
        "train.arrow: no Arrow file, or one that is cut off (ArrowInvalid: File is too small: 7); " + ANEW,
    ),
    "a JSON line that is broken": (
        {"train.jsonl": ROW * 3 + b'{"question": "q", "answer" "a"}\n' + ROW},
        "train.jsonl, line 4: no valid JSON (Expecting ':' delimiter, column 28: "
        '{"question": "q", "answer" "a"}); mend or delete the line',
    ),
    "a JSON line that is cut off": (
        {"train.jsonl": ROW + b"\n" + b'{"question": "q", "a'},
        'train.jsonl, line 3: no valid JSON (Unterminated string starting at, column 19: {"question": "q", "a); '
        "mend or delete the line",
    ),
    "a JSON line, the first, in the second of three files": (
        {"train-0.jsonl": ROW, "train-1.jsonl": b"{question}\n" + ROW, "train-2.jsonl": ROW},
        "train-1.jsonl, line 1: no valid JSON (Expecting property name enclosed in double quotes, column 2: "
        "{question}); mend the file there",
    ),
    "a JSON line with a column that comes twice": (
        {"train.jsonl": ROW + b'{"question": "q", "answer": "a", "answer": "b"}\n'},
        "train.jsonl, line 2: answer is given more than once; give it once",
    ),
    "a JSON line that is no object": (
        {"train.jsonl": ROW * 2 + b'["q", "a"]\n' + ROW},
        'train.jsonl, line 3: ["q", "a"] is no object with columns; give each row as an object on a line of its own, '
        'such as {"query": "...", "positive": "..."}',
    ),
    "a JSON file that is no object": (
        {"train.json": b"12\n"},
        "train.json, line 1: 12 is no object with columns; give each row as an object on a line of its own, "
        'such as {"query": "...", "positive": "..."}',
    ),
    "a JSON list that is broken": (
        {"train.json": b'[\n {"question": "q", "answer": "a"},\n {"question" "q"}\n]\n'},
        'train.json, line 3: no valid JSON (Expecting \':\' delimiter, column 14:  {"question" "q"}); '
        "mend the file there",
    ),
    "a JSON list with a value that is no object": (
        {"train.json": b'[{"question": "q", "answer": "a"}, 2]'},
        "train.json, row 1: 2 is no object with columns; give each row as an object on a line of its own, "
        'such as {"query": "...", "positive": "..."}',
    ),
    "JSON lines of another encoding": (
        {"train.jsonl": ROW * 2 + '{"question": "é", "answer": "a"}\n'.encode("latin-1")},
        'train.jsonl, line 3: not UTF-8 (byte 0xE9 in {"question": "\\xe9", "answer": "a"}); save the file in UTF-8',
    ),
    "JSON lines with other columns": (
        {"train-0.jsonl": ROW, "train-1.jsonl": b'{"question": "q", "reply": "a"}\n'},
        f"train-1.jsonl: it has reply, which train-0.jsonl has not; {SAME}",
    ),
    "JSON lines with other types": (
        {"train-0.jsonl": ROW, "train-1.jsonl": b'{"question": "q", "answer": [5]}\n'},
        f"train-1.jsonl: column answer holds lists (text in train-0.jsonl); {SAME}",
    ),
    "a column that comes late in a long JSON file": (
        {"train.jsonl": LONG_ROW * 110 + b'{"question": "q", "answer": "a", "late": 1}\n'},
        "train.jsonl, line 111: column late is new here; the rows before have question, answer; "
        "give all rows the same columns",
    ),
    "compressed JSON lines with a broken line": (
        {"train.jsonl.gz": gzip.compress(ROW + b"{\n")},
        "train.jsonl.gz, line 2: no valid JSON (Expecting property name enclosed in double quotes, column 1: {); "
        "mend or delete the line",
    ),
    "another file named gz": (
        {"train.jsonl.gz": b"no rows"},
        "train.jsonl.gz: it cannot be read (BadGzipFile: Not a gzipped file (b'no')); copy or write it anew",
    ),
    "a broken line in a file of an archive": (
        {"train.zip": zipped(one=ROW, two=ROW + b"[\n")},
        "train.zip/two.jsonl, line 2: no valid JSON (Expecting value, column 1: [); mend or delete the line",
    ),
    "another file named zip": (
        {"train.zip": b"no rows"},
        "train.zip: it cannot be read (BadZipFile: File is not a zip file); copy or write it anew",
    ),
    "CSV of another encoding": (
        {"train.csv": "question,answer\nq,a\nMüll,a\n".encode("latin-1")},
        "train.csv, line 3: not UTF-8 (byte 0xFC in M\\xfcll,a); save the file in UTF-8",
    ),
    "CSV with a field too many": (
        {"train.csv": b'question,answer\n"q,\nq",a\nq,a,b\nq,a\n'},
        f"train.csv, line 4: 3 fields (q,a,b), but the header has 2: question,answer; {QUOTED_COMMA}",
    ),
    "CSV with a field too many in every row": (
        {"train.csv": b"question,answer\nq,a,b\nr,c,d\n"},
        f"train.csv, line 2: 3 fields (q,a,b), but the header has 2: question,answer; {QUOTED_COMMA}",
    ),
    "CSV with another separator": (
        {"train.csv": b"question;answer\nq;a\nq, r;a\n"},
        "train.csv, line 3: 2 fields (q, r;a), but the header has 1: question;answer; separate fields by ',', "
        "not by ';'",
    ),
    "CSV with a field too many by the separator of the card": (
        {
            "train.csv": b"question;answer\nq, r;a\nq;a;b\n",
            "README.md": card(configs=[{"config_name": "default", "data_files": "train.csv", "sep": ";"}]),
        },
        "train.csv, line 3: 3 fields (q;a;b), but the header has 2: question;answer; "
        "put fields that hold ';' between double quotes",
    ),
    "TSV with a field too many": (
        {"train.tsv": b"question\tanswer\nq, r\ta\nq\ta\tb\n"},
        "train.tsv, line 3: 3 fields (q\\ta\\tb), but the header has 2: question\\tanswer; "
        "put fields that hold '\\t' between double quotes",
    ),
    "CSV with a quote that is never closed": (
        {"train.csv": b'question,answer\nq,a\n"q,a\nq,a\n'},
        "train.csv, line 3: a quote opens here and is never closed (q,a); close it",
    ),
    "CSV with other columns": (
        {"train-0.csv": b"question,answer\nq,a\n", "train-1.csv": b"question,reply\nq,a\n"},
        "train-1.csv: it has reply, which train-0.csv has not and lacks answer, which train-0.csv has; " + SAME,
    ),
    "CSV with columns in another order": (
        {"train-0.csv": b"question,answer\nq,a\n", "train-1.csv": b"answer,question\na,q\n"},
        f"train-1.csv: its columns come in another order than those of train-0.csv; {SAME}",
    ),
    "CSV with other types": (
        {"train-0.csv": b"question,answer\nq,1\n", "train-1.csv": b"question,answer\nq,1.5\n"},
        f"train-1.csv: column answer holds numbers (whole numbers in train-0.csv); {SAME}",
    ),
    "CSV with another type in a late row": (
        {"train.csv": MANY_NUMBERS + b"q,abc\n"},
        "train.csv, line 10002: column answer holds text here (abc) and whole numbers before; "
        "make all values of the column of one type",
    ),
    "CSV without rows among others": (
        {"train-0.csv": b"question,answer\n", "train-1.csv": b"question,answer\nq,a\n"},
        "train-0.csv: it has no rows, as other files of the split have; delete it",
    ),
    "a broken table of a folder of images": (
        {"train/a.png": b"", "train/metadata.jsonl": b'{"file_name": "a.png", "question": "q"}\n{\n'},
        "train/metadata.jsonl, line 2: no valid JSON (Expecting property name enclosed in double quotes, column 1: {); "
        "mend or delete the line",
    ),
    "a table of a folder of images that names none": (
        {"train/a.png": b"", "train/metadata.jsonl": b'{"name": "a.png", "question": "q"}\n'},
        "train/metadata.jsonl: no column names the images; it has name, question; "
        "name the image of each row in a column file_name",
    ),
    "a card whose head is broken": (
        {"train.jsonl": ROW, "README.md": b"---\nconfigs: [\n---\n"},
        "README.md: its head is no valid YAML (ParserError: while parsing a flow node expected the node content, but "
        "found '<stream end>' in \"<unicode string>\", line 1, column 11: configs: [ ^); mend or delete it",
    ),
    "a card that names a file that is not there": (
        {"train.jsonl": ROW, "README.md": card(configs=[{"config_name": "default", "data_files": "other.jsonl"}])},
        "README.md names other.jsonl, which is no file of rows in the dataset; correct its data_files",
    ),
    "a card with other types": (
        {
            "train.jsonl": ROW,
            "README.md": b"---\ndataset_info:\n  features:\n  - name: question\n    dtype: string\n"
            b"  - name: answer\n    dtype: int64\n---\n",
        },
        "README.md: its features do not fit the files (ArrowInvalid: Failed to parse string: 'a' as a scalar of type "
        "int64); correct or delete them",
    ),
}

EMPTY = {
    "an empty JSON file": {"train.jsonl": b""},
    "a JSON file of blank lines": {"train.jsonl": b"\n\n"},
    "an empty list": {"train.json": b"[]"},
    "an empty CSV file": {"train.csv": b""},
    "a CSV file with only a header": {"train.csv": b"question,answer\n"},
    "empty parquet files": {"train-0.parquet": b"", "train-1.parquet": b""},
    "an empty Arrow file": {"train.arrow": b""},
    "an empty table of a folder of images": {"train/a.png": b"", "train/metadata.jsonl": b""},
}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(("files", "fault"), BROKEN.values(), ids=BROKEN)
def test_the_broken_file_is_named_with_place_cause_and_remedy(
    make_run: MakeRun, claim: Path, files: dict[str, bytes], fault: str
) -> None:
    write(claim / "qa", files)

    assert told(text_run(make_run)) == (Reason.UNREADABLE_DATASET, f"spec.data.train[0]: dataset qa: {fault}")


def test_a_file_that_cannot_be_read_is_bad_data() -> None:
    assert exit_code_of(Reason.UNREADABLE_DATASET) is ExitCode.BAD_DATA


def test_a_column_named_as_pandas_names_its_index_is_no_fault(make_run: MakeRun, claim: Path) -> None:
    write(claim / "qa", {"train.csv": b"question,answer,__index_level_0__\nq,a,7\n"})

    assert written(text_run(make_run)) == [("q", "a")]


@pytest.mark.parametrize("files", EMPTY.values(), ids=EMPTY)
def test_files_without_rows_are_an_empty_dataset(make_run: MakeRun, claim: Path, files: dict[str, bytes]) -> None:
    write(claim / "qa", files)

    assert told(text_run(make_run)) == (
        Reason.EMPTY_DATASET,
        "spec.data.train[0]: split 'train' of dataset qa has no rows",
    )


def test_a_broken_table_of_a_retrieval_set_is_named_with_its_field(make_run: MakeRun, claim: Path) -> None:
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a"}])
    names = ("queries", "corpus", "qrels")
    configs = [{"config_name": name, "data_files": [{"split": "test", "path": f"{name}.csv"}]} for name in names]
    files = {
        "queries.csv": b"id,text\n1,q\n",
        "corpus.csv": b"id,text\na,one\nb,one, two\n",
        "qrels.csv": b"query_id,corpus_id\n1,a\n1,\xe9\n",
    }
    write(claim / "held-out", {"README.md": card(configs=configs), **files})
    tables = {
        "queries": {"subset": "queries", "split": "test", "id": "id", "value": "text"},
        "corpus": {"subset": "corpus", "split": "test", "id": "id", "value": "text"},
        "relevantDocuments": {"subset": "qrels", "split": "test", "query": "query_id", "document": "corpus_id"},
    }

    evaluation = [{"name": "held-out", "source": "pvc://inputs/held-out", "tables": tables}]

    assert told(text_run(make_run, evaluation=evaluation)) == (
        Reason.UNREADABLE_DATASET,
        "2 problems. 1) spec.data.evaluation[0].tables.corpus: dataset held-out: corpus.csv, line 3: 3 fields "
        f"(b,one, two), but the header has 2: id,text; {QUOTED_COMMA} 2) spec.data.evaluation[0].tables"
        ".relevantDocuments: dataset held-out: qrels.csv, line 3: not UTF-8 (byte 0xE9 in 1,\\xe9); "
        "save the file in UTF-8",
    )


def test_a_broken_file_of_the_hub_is_named(make_run: MakeRun, claim: Path, hub: RunningHub, tmp_path: Path) -> None:
    write(tmp_path / "pages", {"data/train-0.jsonl": ROW, "data/train-1.jsonl": ROW + b"{\n", "data/test.jsonl": b"{"})
    push(hub, tmp_path / "pages", "demo/broken")

    assert told(text_run(make_run, source="hf://demo/broken").at(hub.endpoint)) == (
        Reason.UNREADABLE_DATASET,
        "spec.data.train[0]: dataset qa: data/train-1.jsonl, line 2: no valid JSON (Expecting property name enclosed "
        "in double quotes, column 1: {); mend or delete the line",
    )
