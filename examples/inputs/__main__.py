"""`python -m examples.inputs build DIR [EXAMPLE|all]` and `push DIR --endpoint URL --token-file FILE`."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from .building import EXAMPLES, build_input, choose_inputs, find_repositories

# These count from the first import of the libraries, which is why push.py is imported late.
QUIET_AND_ON_THIS_MACHINE = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parse(arguments)
    os.environ.update(QUIET_AND_ON_THIS_MACHINE)
    console = Console(highlight=False, soft_wrap=True)
    try:
        if options.command == "build":
            _build(options.folder, example=options.example, console=console)
        else:
            _push(options.folder, endpoint=options.endpoint, token_file=options.token_file, console=console)
    except (OSError, RuntimeError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), style="red", markup=False)
        return 1
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.inputs", description="The inputs of the examples.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make models and datasets below a folder")
    build.add_argument("folder", type=Path)
    build.add_argument("example", nargs="?", default="all", choices=(*EXAMPLES, "all"))
    push = commands.add_parser("push", help="push what was built to a Hub")
    push.add_argument("folder", type=Path)
    push.add_argument("--endpoint", required=True, help="address of the Hub")
    push.add_argument("--token-file", type=Path, required=True, help="file that holds a token that may write")
    return parser.parse_args(arguments)


def _build(folder: Path, *, example: str, console: Console) -> None:
    for entry in choose_inputs(example):
        with _step(f"Building {entry.path}", console=console) as done:
            files = [file for file in build_input(entry, folder=folder).rglob("*") if file.is_file()]
            done.append(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")


def _push(folder: Path, *, endpoint: str, token_file: Path, console: Console) -> None:
    from huggingface_hub import HfApi  # noqa: PLC0415 - reads the environment set above

    from .push import push_repository  # noqa: PLC0415 - as above

    repositories = list(find_repositories(folder))
    if not repositories:
        raise RuntimeError(f"{folder}: holds no models or datasets; run `python -m examples.inputs build {folder}`")
    api = HfApi(endpoint=endpoint, token=token_file.read_text().strip())
    for kind, repository, path in repositories:
        with _step(f"Pushing {kind}s/{repository}", console=console) as done:
            commit = push_repository(api, kind=kind, repository=repository, folder=path)
            done.append(f"commit {commit[:12]}")


@contextmanager
def _step(what: str, *, console: Console) -> Iterator[list[str]]:
    """Show a spinner on a terminal, and one line when it is done: what, the words collected, seconds."""
    started = time.monotonic()
    words: list[str] = []
    with console.status(what):
        yield words
    console.print(f"{what}: {', '.join(words)} in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
