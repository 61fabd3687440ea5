"""Models and datasets in buckets of Google, against a server that speaks as Cloud Storage does."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_api.reasons import Reason
from finetune_trainer.prepare.prepare import prepare
from finetune_trainer.workspace.failures import RunFailure
from tests import gcs
from tests.trainer.conftest import MakeRun, write_jsonl

MODEL = {"source": "gs://company/models/small"}
DATA = {"train": [{"name": "qa", "source": "gs://company/pages/2026=11/"}]}
ROWS = [{"query": f"question {row}", "positive": f"answer {row}"} for row in range(40)]


@pytest.fixture
def endpoint(tmp_path: Path, text_model: Path) -> Iterator[str]:
    """A server whose one bucket has a model and a dataset."""
    program = gcs.find()
    if program is None:
        pytest.skip(gcs.MISSING)
    bucket = tmp_path / "buckets" / "company"
    shutil.copytree(text_model, bucket / "models" / "small")
    write_jsonl(bucket / "pages" / "2026=11" / "train.jsonl", ROWS)
    with gcs.running_gcs(program, tmp_path / "buckets") as endpoint:
        yield endpoint


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_model_and_rows_come_out_of_buckets_of_google(make_run: MakeRun, endpoint: str, text_model: Path) -> None:
    run = make_run(model=MODEL, data=DATA).with_bucket(read=gcs.settings(endpoint))

    result = prepare(run.config, run.settings)

    assert [dataset.rows for dataset in result.datasets] == [40]
    files = contents(run.workspace.base_model)
    assert files == {name: content for name, content in contents(text_model).items() if name in files}
    assert "model.safetensors" in files


def test_what_is_not_in_a_bucket_of_google_is_told(make_run: MakeRun, endpoint: str) -> None:
    data = {"train": [{"name": "qa", "source": "gs://company/rows"}]}
    run = make_run(model=MODEL, data=data).with_bucket(read=gcs.settings(endpoint))

    with pytest.raises(RunFailure) as refused:
        prepare(run.config, run.settings)

    assert (refused.value.reason, refused.value.message) == (
        Reason.DATASET_NOT_FOUND,
        "spec.data.train[0].source: reading gs://company/rows: there is nothing; name a path with files below it",
    )
