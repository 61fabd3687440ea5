"""`finetune completion`: what bash makes of the script, and kubectl of ours for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_cli.main import main
from tests.cli.test_commands import commands
from tests.contract.test_examples import ROOT

#: Prints what bash would offer for the last of its arguments.
ASK = 'source "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); _shtab_finetune; printf "%s\\n" "${COMPREPLY[@]}"'
CASES = [
    (["val"], {"validate"}),
    (["validate", "-o", ""], {"text", "json"}),
    (["logs", "pages", "--rol"], {"--role"}),
    (["logs", "--role", "p"], {"prepare", "publish"}),
    (["submit", "examples/qu"], {"examples/quickstart.yaml"}),
    (["run", "--workspace", "docs/ad"], {"docs/adr"}),
    (["completion", ""], {"bash", "zsh", "tcsh"}),
]


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("words", "offered"), CASES)
def test_bash_completes_commands_options_choices_and_files(
    words: list[str], offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "finetune.bash"
    file.write_text(script("bash", capsys))

    command = ["bash", "-c", ASK, "ask", str(file), "finetune", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_called_by_kubectl_the_script_is_still_that_of_finetune(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = script(shell, capsys)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-finetune"])

    assert script(shell, capsys) == own


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_the_scripts_of_other_shells_have_all_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)

    assert [name for name in commands() if name not in text] == []


def test_kubectl_is_told_the_same_and_that_there_is_no_more(tmp_path: Path) -> None:
    finetune = tmp_path / "finetune"
    finetune.write_text(f'#!/bin/sh\nexec {sys.executable} -m finetune_cli "$@"\n')
    finetune.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    command = [str(ROOT / "cli" / "kubectl_complete-finetune"), "list", "-o", ""]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == "text\njson\n:4\n"
