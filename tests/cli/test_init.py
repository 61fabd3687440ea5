"""`finetune init`: what it writes is valid, and is the quickstart where nothing is answered."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api.json_schema import FILE_NAME, MODELINE, render
from finetune_cli.local.expected import estimate_manifest
from finetune_cli.main import main
from finetune_cli.manifest import commands
from finetune_cli.manifest.checking import Job, check
from finetune_cli.manifest.starting import TASKS, Answers, Columns, build_manifest, next_steps
from tests.contract.model_sizes import SIZES
from tests.contract.test_examples import ROOT

QUICKSTART = ROOT / "examples" / "quickstart.yaml"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(*options: str, file: str = "job.yaml") -> Any:  # noqa: ANN401 - YAML
    assert main(["init", file, *options]) == 0
    return yaml.safe_load(Path(file).read_text())


def test_without_any_answer_it_is_the_quickstart() -> None:
    assert written() == yaml.safe_load(QUICKSTART.read_text())


def test_it_names_the_schema_and_puts_it_beside(capsys: pytest.CaptureFixture[str]) -> None:
    written()

    assert Path("job.yaml").read_text().startswith(f"{MODELINE}{FILE_NAME}\n")
    assert Path(FILE_NAME).read_text() == render()
    assert capsys.readouterr().out == (
        "job.yaml: FinetuneJob quickstart, an embedding model that finds the text that answers a question\n"
        "Next: finetune run job.yaml\n"
    )


def test_what_is_there_is_written_over_only_if_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("job.yaml", FILE_NAME):
        Path(name).write_text("mine")

    refused = main(["init"])
    beside = main(["init", "other.yaml"])

    assert (refused, beside) == (2, 0)
    assert capsys.readouterr().err == (
        "job.yaml is there already; name another file, or add --force to write over it\n"
    )
    assert [Path(name).read_text() for name in ("job.yaml", FILE_NAME)] == ["mine", "mine"]
    assert written("--force") == yaml.safe_load(QUICKSTART.read_text())
    assert Path(FILE_NAME).read_text() == render()


@pytest.mark.parametrize("own", [None, "pvc://mine/all"])
@pytest.mark.parametrize("place", commands.PLACES)
@pytest.mark.parametrize("task", TASKS)
def test_every_choice_is_a_valid_manifest(task: str, place: str, own: str | None) -> None:
    nodes = 2 if place == "cluster" else 1
    answers = Answers(task=task, where=place, nodes=nodes, data=own, model=own, repository="acme/better")

    checked = check(build_manifest(answers))

    assert isinstance(checked, Job), checked
    assert checked.spec.publish is not None
    assert checked.spec.data.evaluation or checked.spec.data.train[0].hold_out


@pytest.mark.parametrize("accelerators", [1, 4])
@pytest.mark.parametrize("task", ["page-embedding", "page-reranker"])
def test_a_large_model_is_given_what_it_needs(task: str, accelerators: int) -> None:
    checked = check(build_manifest(Answers(task=task, where="cluster", accelerators=accelerators)))
    assert isinstance(checked, Job)

    needs = estimate_manifest(checked.spec, SIZES, device_bytes=80 * 10**9).needs

    assert [told for need in needs for told in (need.refusal(), need.warning()) if told is not None] == []


def test_of_other_data_a_tenth_is_held_out() -> None:
    data = written("--data", "hf://acme/pairs", "--query", "q", "--positive", "p")["spec"]["data"]

    assert data == {
        "train": [
            {
                "name": "questions",
                "source": "hf://acme/pairs",
                "columns": {"query": "q", "positive": "p"},
                "holdOut": "10%",
            }
        ]
    }


def test_several_nodes_share_a_volume_and_have_what_all_their_processes_need() -> None:
    options = ("--where", "cluster", "--nodes", "2", "--accelerators", "4", "--repository", "acme/better")
    spec = written(*options)["spec"]

    assert (spec["storage"]["accessMode"], spec["resources"]["nodes"]) == ("ReadWriteMany", 2)
    assert spec["resources"]["requests"] == {"cpu": "16", "memory": "40Gi"}
    assert spec["publish"] == {"repository": "acme/better", "tokenSecret": {"name": "hub-token"}}


def test_what_comes_next_depends_on_where_it_runs() -> None:
    at_home = next_steps(Answers(repository="acme/better"), "job.yaml")
    in_a_cluster = next_steps(Answers(where="cluster", repository="acme/better"), "job.yaml")

    assert at_home == ["hf auth login", "finetune run job.yaml"]
    assert in_a_cluster == [
        "kubectl create secret generic hub-token --from-file=token=./token",
        "finetune submit job.yaml --watch",
    ]


def test_the_file_is_named_as_a_shell_takes_it() -> None:
    assert next_steps(Answers(), "my job.yaml") == ["finetune run 'my job.yaml'"]
    assert next_steps(Answers(where="cluster"), "my job.yaml") == ["finetune submit 'my job.yaml' --watch"]


def test_an_empty_answer_is_none() -> None:
    assert written("--data", "", "--model", "", "--repository", "") == yaml.safe_load(QUICKSTART.read_text())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--nodes", "0"), "spec.resources.nodes"),
        (("--nodes", "-2"), "spec.resources.nodes"),
        (("--accelerators", "-1"), "spec.resources.accelerator.perNode"),
    ],
)
def test_numbers_that_cannot_be_are_told(
    options: tuple[str, str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--where", "cluster", *options]) == 10
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [field]
    assert not Path("job.yaml").exists()


def test_what_cannot_be_is_told_as_validate_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["init", "--model", "acme/model", "--repository", "better"])

    assert code == 10
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "spec.model.source",
        "spec.publish.repository",
    ]
    assert not Path("job.yaml").exists()


def test_a_place_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "no/such/job.yaml"]) == 2
    assert "no/such/job.yaml cannot be written (No such file or directory)" in capsys.readouterr().err


def test_for_programs_and_pipes_it_prints_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "-o", "json"]) == 0
    told = capsys.readouterr().out
    assert main(["init", "-"]) == 0
    printed = capsys.readouterr().out
    assert main(["init", "-", "-o", "json"]) == 0
    as_json = capsys.readouterr().out

    assert json.loads(told) == {"file": "job.yaml", "name": "quickstart", "next": ["finetune run job.yaml"]}
    assert json.loads(as_json) == yaml.safe_load(printed) == yaml.safe_load(QUICKSTART.read_text())


def test_the_command_line_offers_every_task() -> None:
    assert tuple(TASKS) == commands.TASKS


def at_a_terminal(answers: str) -> tuple[int, str]:
    """Return exit code and screen of the command, typed at a terminal."""
    own, theirs = pty.openpty()
    command = [sys.executable, "-m", "finetune_cli", "init"]
    plain = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=plain)
    os.close(theirs)
    os.write(own, answers.encode())
    shown = b""
    try:
        while part := os.read(own, 4096):
            shown += part
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(own)
    return process.wait(timeout=300), shown.decode()


def test_a_terminal_is_asked_and_told_what_is_usual() -> None:
    code, shown = at_a_terminal("cluster\n\n\nhf://acme/pairs\nq\n\n\nacme/better\n2\n0\n")

    assert code == 0, shown
    assert "Where will it run? [laptop/gpu/cluster] (laptop): " in shown
    assert "Next: kubectl create secret generic hub-token" in shown
    expected = Answers(
        name="text-embedding",
        where="cluster",
        data="hf://acme/pairs",
        columns=Columns("q", "positive"),
        repository="acme/better",
        nodes=2,
        accelerators=0,
    )
    assert yaml.safe_load(Path("job.yaml").read_text()) == build_manifest(expected)


def test_whoever_ends_the_questions_gets_no_file() -> None:
    code, shown = at_a_terminal("\n\x04")

    assert code == 17
    assert shown.endswith("Stopped before anything was begun.\r\n")
    assert not Path("job.yaml").exists()
