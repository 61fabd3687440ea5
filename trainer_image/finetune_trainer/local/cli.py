"""The command line: `finetune validate FILE...`, `finetune estimate FILE` and `finetune run FILE`."""

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune_api import __version__

DESCRIPTION = "Check and run FinetuneJobs on this machine, without a cluster."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = build_parser().parse_args(arguments)
    from finetune_api.contract import ExitCode  # noqa: PLC0415 - takes a moment that --help does not need

    missing = [module for module in given.modules if importlib.util.find_spec(module) is None]
    if missing:
        names = ", ".join(missing)
        sys.stderr.write(f"{names}: not installed; install finetune-operator with the extras {given.extras}\n")
        return ExitCode.USAGE
    try:
        code: int = given.command(given)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped before anything was begun.\n")
        return ExitCode.PREEMPTED
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="finetune", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"finetune-operator {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    validate = commands.add_parser("validate", help="print every problem of manifests, with file, line and field")
    validate.add_argument("files", nargs="+", metavar="FILE", help="YAML with FinetuneJobs, or - for standard input")
    validate.set_defaults(command=_validate, modules=["cel_expr_python"], extras="local")
    estimate = commands.add_parser("estimate", help="print what a job needs of memory and storage, and what it has")
    estimate.add_argument("file", metavar="FILE", help="YAML with one FinetuneJob, or - for standard input")
    estimate.add_argument(
        "--source",
        action="append",
        default=[],
        type=_source,
        metavar="SOURCE=DIR",
        help="folder that stands for a hf:// or pvc:// model; may be repeated",
    )
    estimate.add_argument("--device-memory", type=_quantity, metavar="SIZE", help="of one accelerator, such as 80G")
    estimate.set_defaults(
        command=_estimate, modules=["cel_expr_python", "rich", "huggingface_hub"], extras="local,trainer"
    )
    run = commands.add_parser("run", help="prepare, train and publish a job on this machine")
    run.add_argument("file", metavar="FILE", help="YAML with one FinetuneJob, or - for standard input")
    run.add_argument(
        "--workspace", type=Path, metavar="DIR", help="folder of inputs, checkpoints and result (build/finetune/NAME)"
    )
    run.add_argument("--no-publish", action="store_true", help="leave the model in the workspace")
    run.add_argument(
        "--processes", type=int, metavar="N", help="training processes (as the manifest and devices allow)"
    )
    run.add_argument(
        "--claim",
        action="append",
        default=[],
        type=_claim,
        metavar="NAME=DIR",
        help="folder that stands for the volume claim of pvc:// sources; may be repeated",
    )
    run.add_argument("--fresh", action="store_true", help="give up what an earlier run has trained in the workspace")
    run.set_defaults(command=_run, modules=["cel_expr_python", "rich", "sentence_transformers"], extras="local,trainer")
    return parser


def _claim(text: str) -> tuple[str, Path]:
    name, given, folder = text.partition("=")
    if not (name and given and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR; write for example models=./models")
    return name, Path(folder)


def _source(text: str) -> tuple[str, Path]:
    source, given, folder = text.partition("=")
    if "://" not in source or not (given and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not SOURCE=DIR; write for example hf://acme/model=./model")
    return source, Path(folder)


def _quantity(text: str) -> float:
    from finetune_api.quantities import parse_quantity  # noqa: PLC0415 - as above

    try:
        return float(parse_quantity(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _estimate(given: argparse.Namespace) -> int:
    from finetune_trainer.local.estimate import Question, estimate  # noqa: PLC0415 - as above

    return estimate(Question(given.file, folders=dict(given.source), device_bytes=given.device_memory))


def _run(given: argparse.Namespace) -> int:
    from finetune_trainer.local.run import Wishes, run  # noqa: PLC0415 - as above

    wishes = Wishes(
        file=given.file,
        workspace=given.workspace,
        claims=dict(given.claim),
        processes=given.processes,
        publishes=not given.no_publish,
        fresh=given.fresh,
    )
    return run(wishes)


def _validate(given: argparse.Namespace) -> int:
    from finetune_trainer.local.validate import validate  # noqa: PLC0415 - each command loads only what it needs

    return validate(given.files)


if __name__ == "__main__":
    sys.exit(main())
