"""`finetune`, and `kubectl finetune`: manifests, runs on this machine, and jobs on a cluster."""

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune_api import __version__
from finetune_cli.cluster import commands as cluster
from finetune_cli.completion import add_completion
from finetune_cli.local import commands as local
from finetune_cli.manifest import commands as manifest

DESCRIPTION = "Check FinetuneJobs, run them on this machine, and follow them on a cluster."
#: kubectl takes a program of that name for its command `finetune`.
_PLUGIN = "kubectl-finetune"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for some reads all that is installed
    given = build_parser(kubectl=Path(sys.argv[0]).stem == _PLUGIN).parse_args(arguments)
    from finetune_api.contract import ExitCode  # noqa: PLC0415 - takes a moment that --help does not need

    missing = [module for module in given.modules if importlib.util.find_spec(module) is None]
    if missing:
        names = ", ".join(missing)
        sys.stderr.write(f"{names}: not installed; install finetune-operator with the extras {given.extras}\n")
        return ExitCode.USAGE
    try:
        code: int = given.command(given)
    except KeyboardInterrupt:
        sys.stderr.write(f"{given.stopped}\n")
        return ExitCode.PREEMPTED
    return code


def build_parser(*, kubectl: bool = False) -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    prog = "kubectl finetune" if kubectl else "finetune"
    parser = argparse.ArgumentParser(prog=prog, description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"finetune-operator {__version__}")
    parser.set_defaults(stopped="Stopped before anything was begun.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (manifest, local, cluster):
        room.add_commands(commands)
    add_completion(commands, build_parser)
    return parser
