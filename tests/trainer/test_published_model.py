"""What is published is a model that loads and works as its card says, for someone who has only the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from finetune_trainer.publish.publish import publish
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, Run, png
from tests.trainer.publishing import REPOSITORY, finished_run
from tests.trainer.rerankers import build_tiny_reranker

RERANKER = {
    "model": {"source": "hf://demo/tiny", "kind": "Reranker", "prompts": {"query": "Find the page: "}},
    "training": {"loss": {"name": "BinaryCrossEntropyLoss"}},
}


def code_of_card(run: Run, hub: RunningHub, folder: Path) -> list[str]:
    """Publish, and return the Python of the card that a reader finds on the Hub."""
    publish(run.config, run.settings)
    card = hf_hub_download(REPOSITORY, "README.md", endpoint=hub.endpoint, local_dir=folder / "reader", token=False)
    return [part.split("```")[0] for part in Path(card).read_text().split("```python\n")[1:]]


def run_code(code: str, hub: RunningHub, folder: Path) -> list[str]:
    """Run a program as a reader would, with two pages at hand; return the lines that it prints."""
    for name, color in (("first.png", "red"), ("second.png", "blue")):
        (folder / name).write_bytes(png(color))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("block", [0, 1])
def test_the_code_of_the_card_runs_on_the_published_model(
    make_run: MakeRun, tiny_model: Path, hub: RunningHub, tmp_path: Path, block: int
) -> None:
    run = finished_run(make_run, tiny_model, private=False).at(hub.endpoint).with_token(write=hub.write_token)
    blocks = code_of_card(run, hub, tmp_path)
    start = "from sentence_transformers import SentenceTransformer\n" if block else ""
    ask = "\nimport json; print(json.dumps([model.truncate_dim, list(model.encode_query(['one']).shape)]))"

    printed = run_code(start + blocks[block] + ask, hub, tmp_path)

    expected = [None, [1, 64]] if block == 0 else [32, [1, 32]]
    assert json.loads(printed[-1]) == expected


def test_the_code_of_a_rerankers_card_scores_and_ranks_pages(
    make_run: MakeRun, tiny_model: Path, hub: RunningHub, tmp_path: Path
) -> None:
    build_tiny_reranker(tmp_path / "reranker", embedding_model=tiny_model)
    run = finished_run(make_run, tmp_path / "reranker", sections=RERANKER, private=False)
    (code,) = code_of_card(run.at(hub.endpoint).with_token(write=hub.write_token), hub, tmp_path)
    ask = "\nimport json; print(json.dumps([len(set(model.predict([('a', 'first.png'), ('a', 'second.png')])))]))"

    printed = run_code(code + ask, hub, tmp_path)

    ranking = json.loads(printed[-2].replace("'", '"'))
    assert sorted(one["corpus_id"] for one in ranking) == [0, 1]
    assert ranking[0]["score"] > ranking[1]["score"]
    assert json.loads(printed[-1]) == [2], "pages of different colours are opened and score differently"
