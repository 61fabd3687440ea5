"""What is done on this machine with the trainer's code: `estimate` and `run`."""

import argparse
from pathlib import Path

from finetune_cli.command import Commands, add_command

#: One of each extra is enough to tell that it is not installed.
_MODULES = ("cel_expr_python", "rich", "sentence_transformers")


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    _add_estimate(commands)
    _add_run(commands)


def _add_estimate(commands: Commands) -> None:
    estimate = add_command(
        commands,
        "estimate",
        "print what a job needs of memory and storage, and what it has",
        more="Reads configurations and the names of weights from the Hub; no weight is fetched.",
        examples=["finetune estimate job.yaml --device-memory 80G"],
    )
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
    estimate.add_argument("-o", "--output", choices=["text", "json"], default="text", help="how to print (text)")
    estimate.set_defaults(command=_estimate, modules=_MODULES, extras="cli,trainer")


def _add_run(commands: Commands) -> None:
    run = add_command(
        commands,
        "run",
        "prepare, train and publish a job on this machine",
        more="Ctrl-C saves a checkpoint; the same command goes on from it.",
        examples=[
            "finetune run examples/quickstart.yaml",
            "finetune run job.yaml --no-publish --processes 2",
            "finetune run job.yaml -o json | jq .status",
        ],
    )
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
    run.add_argument("-o", "--output", choices=["text", "json"], default="text", help="how to print the end (text)")
    run.set_defaults(command=_run, modules=_MODULES, extras="cli,trainer")


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
    from finetune_api.quantities import parse_quantity  # noqa: PLC0415 - takes a moment that --help does not need

    try:
        return float(parse_quantity(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _estimate(given: argparse.Namespace) -> int:
    from finetune_cli.local.estimate import Question, estimate  # noqa: PLC0415 - as above

    folders, as_json = dict(given.source), given.output == "json"
    return estimate(Question(given.file, folders=folders, device_bytes=given.device_memory, as_json=as_json))


def _run(given: argparse.Namespace) -> int:
    from finetune_cli.local.run import Wishes, run  # noqa: PLC0415 - as above

    wishes = Wishes(
        file=given.file,
        workspace=given.workspace,
        claims=dict(given.claim),
        processes=given.processes,
        publishes=not given.no_publish,
        fresh=given.fresh,
        as_json=given.output == "json",
    )
    return run(wishes)
