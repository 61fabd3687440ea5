"""`finetune completion SHELL`: a script by which a shell completes commands, options and file names."""

import argparse
import sys
from collections.abc import Callable
from functools import partial

from finetune_cli.command import Commands, add_command

_SHELLS = ("bash", "zsh", "tcsh")
#: Arguments that are called so name what is on this machine.
_FILES = ("FILE", "DIR")


def add_completion(commands: Commands, build: Callable[[], argparse.ArgumentParser]) -> None:
    """Add the command; `build` returns the parser that is completed, that of `finetune` however it is called."""
    completion = add_command(
        commands,
        "completion",
        "print a script with which a shell completes this command",
        more="kubectl completes `kubectl finetune` by itself, by kubectl_complete-finetune, which is installed, too.",
        examples=[
            "finetune completion bash > ~/.local/share/bash-completion/completions/finetune",
            "finetune completion zsh > ~/.zfunc/_finetune",
            "finetune completion tcsh > ~/.finetune.csh",
        ],
    )
    completion.add_argument("shell", choices=_SHELLS, help="whose script")
    completion.set_defaults(command=partial(_complete, build), modules=["shtab"], extras="cli")


def _complete(build: Callable[[], argparse.ArgumentParser], given: argparse.Namespace) -> int:
    import shtab  # noqa: PLC0415 - takes a moment that no other command needs

    whole = build()
    for action in _actions(whole):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(whole, given.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a parser and of all commands below it."""
    own = parser._actions  # noqa: SLF001 - as shtab does
    below = [one for action in own if isinstance(action, argparse._SubParsersAction) for one in action.choices.values()]  # noqa: SLF001
    return [*own, *(action for one in below for action in _actions(one))]
