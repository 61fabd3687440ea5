"""What is published is a model that loads and works as its card says, for someone who has only the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from finetune_trainer.publish import publish
from tests.hub import RunningHub
from tests.trainer.conftest import MakeRun, png
from tests.trainer.publishing import REPOSITORY, finished_run


@pytest.mark.parametrize("block", [0, 1])
def test_the_code_of_the_card_runs_on_the_published_model(
    make_run: MakeRun, tiny_model: Path, hub: RunningHub, tmp_path: Path, block: int
) -> None:
    run = finished_run(make_run, tiny_model, private=False).at(hub.endpoint).with_token(write=hub.write_token)
    publish(run.config, run.settings)
    card = hf_hub_download(REPOSITORY, "README.md", endpoint=hub.endpoint, local_dir=tmp_path / "reader", token=False)
    blocks = [part.split("```")[0] for part in Path(card).read_text().split("```python\n")[1:]]
    for name in ("first.png", "second.png"):
        (tmp_path / name).write_bytes(png("red" if name.startswith("first") else "blue"))
    start = "from sentence_transformers import SentenceTransformer\n" if block else ""
    ask = "\nimport json; print(json.dumps([model.truncate_dim, list(model.encode_query(['one']).shape)]))"

    done = subprocess.run(
        [sys.executable, "-c", start + blocks[block] + ask],
        env=os.environ
        | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    expected = [None, [1, 64]] if block == 0 else [32, [1, 32]]
    assert json.loads(done.stdout.splitlines()[-1]) == expected
