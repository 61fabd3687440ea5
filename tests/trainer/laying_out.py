"""Everything of prepare but the model's check, which would import torch: located, opened, written."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from finetune_api.reasons import Reason
from finetune_trainer.prepare.fetch.addresses import Addresses
from finetune_trainer.prepare.fetch.locating import locate, resolve
from finetune_trainer.prepare.images.fetched import FetchedImages
from finetune_trainer.prepare.images.store import ImageStore
from finetune_trainer.prepare.layout.writing import MinerOf, WrittenInputs, write_inputs
from finetune_trainer.prepare.prepare import connect_sources
from finetune_trainer.prepare.rows.opening import open_inputs
from finetune_trainer.prepare.rows.workplace import Workplace
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import Column
from tests.trainer.conftest import MakeRun, Run, write_jsonl


def text_run(
    make_run: MakeRun,
    *,
    evaluation: list[dict[str, Any]] | None = None,
    loss: str = "CachedMultipleNegativesRankingLoss",
    kind: str = "Embedding",
    **train: Any,  # noqa: ANN401 - fields of a dataset as YAML has them
) -> Run:
    """Return a run on the texts of `pvc://inputs/qa`, columns question and answer."""
    dataset = {"name": "qa", "source": "pvc://inputs/qa", "columns": {"query": "question", "positive": "answer"}}
    data: dict[str, Any] = {"train": [dataset | train]}
    if evaluation is not None:
        data["evaluation"] = evaluation
    model = {"kind": kind, "source": "pvc://inputs/model"}
    return make_run(model=model, data=data, training={"loss": {"name": loss}})


def lay_out(
    run: Run,
    *,
    addresses: Addresses | None = None,
    miner_of: MinerOf = lambda _: None,
    tokens: tuple[str, ...] = (),
) -> WrittenInputs:
    """Fetch, open and write the inputs of a run; raises RunFailure as prepare does."""
    scratch = run.workspace.inputs / ".scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    spec = run.config.spec
    sources = connect_sources(run.settings, scratch)
    located = locate(spec, run.workspace, sources, resolve(spec, sources))
    inputs = open_inputs(spec, located, cache=scratch / "datasets")
    fetched = FetchedImages(scratch / "fetched.jsonl")
    images = ImageStore(run.workspace.images, addresses=addresses, fetched=fetched, num_threads=2)
    place = Workplace(images=images, cache=scratch / "datasets", tokens=tokens)
    try:
        return write_inputs(spec, inputs, located, run.workspace, place, miner_of=miner_of)
    finally:
        images.close()


def kept(run: Run, name: str) -> bytes:
    """Return the bytes of an image of a run."""
    return KeptImages(run.workspace.images).read(name)


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


def given(claim: Path, *rows: dict[str, Any]) -> None:
    """Write the training set of `text_run`; what a row does not say is its question and answer."""
    write_jsonl(claim / "qa" / "train.jsonl", [{"question": "q", "answer": "a"} | row for row in rows])


def written(run: Run) -> list[tuple[Any, ...]]:
    """Lay the run out; return the rows of its training table."""
    lay_out(run)
    return [tuple(row.values()) for row in read(run.workspace.train_table("qa"))]


def names_and_types(run: Run) -> dict[str, str]:
    """Return the columns of the training table."""
    schema = pq.read_schema(run.workspace.train_table("qa"))
    return {field.name: str(field.type).replace("element", "item") for field in schema}


def told(run: Run) -> tuple[Reason, str]:
    """Lay the run out; return why it fails."""
    with pytest.raises(RunFailure) as failure:
        lay_out(run)
    return failure.value.reason, failure.value.message


def columns(*names: str) -> list[Column]:
    """Return columns of texts as the manifest has them."""
    return [Column(name=name, modality="text", many=name == "documents") for name in names]
