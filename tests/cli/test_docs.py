"""docs/local.md says what the command does, docs/commands.md how it is called."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_api.contract import ExitCode
from finetune_cli import reference
from finetune_cli.main import build_parser, main
from tests.contract.model_sizes import SIZES
from tests.contract.test_examples import ROOT, manifests_in

DOCS = (ROOT / "docs" / "local.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of all commands that need no cluster; those of the others are told by their help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found = set(flags(command))
                yield from () if "--context" in found else found
        yield from (option for option in action.option_strings if option.startswith("--"))


def test_every_option_is_documented() -> None:
    undocumented = {flag for flag in flags(build_parser()) if f"`{flag}" not in DOCS}

    assert undocumented == {"--help", "--version"}


def test_the_page_of_all_commands_is_their_help() -> None:
    assert reference.page() == COMMANDS


def test_every_exit_code_is_in_the_table() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", DOCS, re.MULTILINE)

    assert {int(code) for row in rows for code in row.split(",")} == set(map(int, ExitCode))


def test_the_documented_problems_are_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = re.search(r"```yaml\n(apiVersion: .*?)```", DOCS, re.DOTALL)
    expected = re.search(r"\$ finetune validate job\.yaml\n(job\.yaml:\d.*?)```", DOCS, re.DOTALL)
    assert manifest is not None
    assert expected is not None
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(manifest[1])

    code = main(["validate", "job.yaml"])

    assert code == ExitCode.BAD_SPEC
    assert capsys.readouterr().out == expected[1]


def test_the_documented_estimate_is_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = manifests_in((ROOT / "README.md").read_text())[1]
    expected = re.search(r"\$ finetune estimate job\.yaml --device-memory 80G\n(.*?)```", DOCS, re.DOTALL)
    assert expected is not None
    monkeypatch.setattr("finetune_cli.local.estimate.read_models", lambda *_: SIZES)
    (tmp_path / "job.yaml").write_text(manifest)

    code = main(["estimate", str(tmp_path / "job.yaml"), "--device-memory", "80G"])

    assert (code, capsys.readouterr().out) == (ExitCode.SUCCESS, expected[1])
