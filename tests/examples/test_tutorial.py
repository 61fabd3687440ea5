"""The first part of the tutorial, as somebody follows it: its rows, its manifest, its commands."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from examples.inputs import minilm
from examples.inputs.push import push_repository
from finetune_trainer.hub.client import connect
from tests.contract.pages import blocks, commands
from tests.examples.test_twins import run
from tests.hub import RunningHub

pytestmark = pytest.mark.twins

PAGE = "docs/tutorial/laptop.md"
#: As many as are held out and trained within seconds.
NUM_ROWS = 60


def fenced(language: str) -> str:
    (block,) = [block for block in blocks(language) if block.where.startswith(PAGE)]
    return block.text


def more_of(lines: list[str]) -> list[dict[str, str]]:
    """Return rows like those of the page, each about a thing of its own."""
    rows = [json.loads(line) for line in lines]
    return [
        {column: f"{text} Product {number}." for column, text in rows[number % len(rows)].items()}
        for number in range(NUM_ROWS)
    ]


def test_what_the_first_part_says_to_type_trains_a_model_and_tells_its_gain(hub: RunningHub, tmp_path: Path) -> None:
    minilm.build(tmp_path / "model")
    api = connect(hub.endpoint, token=hub.write_token)
    push_repository(api, kind="model", repository="sentence-transformers/all-MiniLM-L6-v2", folder=tmp_path / "model")
    (tmp_path / "faq.yaml").write_text(fenced("yaml"))
    (tmp_path / "data" / "faq").mkdir(parents=True)
    rows = more_of(fenced("json").splitlines())
    (tmp_path / "data" / "faq" / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | {
        "HF_ENDPOINT": hub.endpoint,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    typed = [list(command.words) for command in commands() if command.where.startswith(PAGE)]

    printed = [run(command, environment, folder=tmp_path) for command in typed]

    assert [command[1] for command in typed] == ["validate", "estimate", "run"]
    assert printed[0] == "faq.yaml: FinetuneJob default/faq is valid\n"
    assert re.search(r"host memory of each pod: .*: fits", printed[1])
    assert re.search(r"faq-held-out +ndcg@10 +[01]\.\d{4} ", printed[2])
    assert 'SentenceTransformer("build/finetune/faq/train/model")' in printed[2]
    assert (tmp_path / "build" / "finetune" / "faq" / "report.html").exists()
