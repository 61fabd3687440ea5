"""One command of the command line, with what its help shows."""

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

_WIDTH = 100

#: What `add_subparsers` returns; argparse has no public name for it.
Commands = Any


def add_command(
    commands: Commands, name: str, short: str, *, more: str = "", examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Add a command: what it does in short, what else is to be known, and how it is called."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=short,
        description=textwrap.fill(f"{short[0].upper()}{short[1:]}. {more}".strip(), _WIDTH, break_on_hyphens=False),
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
