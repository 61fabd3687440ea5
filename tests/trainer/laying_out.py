"""Everything of prepare but the model's check, which would import torch: located, opened, written."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from finetune_trainer.data.images import ImageStore
from finetune_trainer.data.inputs import WrittenInputs, locate, open_inputs, write_inputs
from finetune_trainer.data.workplace import Workplace
from finetune_trainer.prepare import connect_sources
from tests.trainer.conftest import MakeRun, Run


def text_run(
    make_run: MakeRun,
    *,
    evaluation: list[dict[str, Any]] | None = None,
    **train: Any,  # noqa: ANN401 - fields of a dataset as YAML has them
) -> Run:
    """Return a run on the texts of `pvc://inputs/qa`, columns question and answer."""
    dataset = {"name": "qa", "source": "pvc://inputs/qa", "columns": {"query": "question", "positive": "answer"}}
    data: dict[str, Any] = {"train": [dataset | train]}
    if evaluation is not None:
        data["evaluation"] = evaluation
    return make_run(model={"source": "pvc://inputs/model"}, data=data)


def lay_out(run: Run) -> WrittenInputs:
    """Fetch, open and write the inputs of a run; raises RunFailure as prepare does."""
    scratch = run.workspace.inputs / ".scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    spec = run.config.spec
    located = locate(spec, run.workspace, connect_sources(run.settings, scratch))
    inputs = open_inputs(spec, located, cache=scratch / "datasets")
    images = ImageStore(run.workspace.images, num_threads=2)
    try:
        return write_inputs(spec, inputs, run.workspace, Workplace(images=images, cache=scratch / "datasets"))
    finally:
        images.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a parquet file."""
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def read_evaluation(run: Run, name: str) -> tuple[dict[str, str], dict[str, str], list[tuple[str, str]]]:
    """Return queries and corpus as id to value, and the relevant pairs."""
    folder = run.workspace.evaluation_folder(name)
    queries, corpus = (
        {row["id"]: row["value"] for row in read(folder / f"{table}.parquet")} for table in ("queries", "corpus")
    )
    return queries, corpus, [(row["query_id"], row["corpus_id"]) for row in read(folder / "relevant.parquet")]
