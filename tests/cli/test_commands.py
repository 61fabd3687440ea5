"""The command line itself: every command has help with examples, and every example is one."""

import argparse
import importlib.util
import shlex
from collections.abc import Iterator

import pytest

from finetune_cli.main import build_parser, main
from tests.contract.test_examples import ROOT


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(found.choices)


def examples() -> Iterator[tuple[str, str]]:
    for name, parser in commands().items():
        for line in (parser.epilog or "").splitlines()[1:]:
            yield name, line.strip()


@pytest.mark.parametrize("name", commands())
def test_every_command_shows_an_example(name: str) -> None:
    assert name in {command for command, _ in examples()}


@pytest.mark.parametrize(("name", "example"), list(examples()))
def test_an_example_is_understood(name: str, example: str) -> None:
    (call,) = [part.strip() for part in example.split("|") if part.strip().startswith("finetune ")]
    _, *arguments = shlex.split(call.partition(" > ")[0].partition(" < ")[0])

    build_parser().parse_args(arguments)

    assert arguments[0] == name


@pytest.mark.parametrize("name", ["estimate", "run"])
def test_what_needs_the_trainer_says_so_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    installed = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module: None if module == "sentence_transformers" else installed(module)
    )

    code = main([name, str(ROOT / "examples" / "quickstart.yaml")])

    assert (code, *capsys.readouterr()) == (
        2,
        "",
        "sentence_transformers: not installed; install finetune-operator with the extras cli,trainer\n",
    )


def test_as_a_command_of_kubectl_it_is_called_so() -> None:
    assert build_parser(kubectl=True).format_usage().startswith("usage: kubectl finetune ")


@pytest.mark.parametrize("rank", ["-1", "x", "1.5"])
def test_a_rank_is_a_number_or_all(rank: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["logs", "pages", f"--rank={rank}"])

    assert ended.value.code == 2
    assert "is no rank; give a number from 0, or all" in capsys.readouterr().err
