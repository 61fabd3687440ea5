"""What looks at files alone: `validate`."""

import argparse

from finetune_cli.command import Commands, add_command


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    validate = add_command(
        commands,
        "validate",
        "print every problem of manifests, with file, line and field",
        more="Asks neither a cluster nor the Hub.",
        examples=["finetune validate job.yaml", "helm template . | finetune validate -"],
    )
    validate.add_argument("files", nargs="+", metavar="FILE", help="YAML with FinetuneJobs, or - for standard input")
    validate.set_defaults(command=_validate, modules=["cel_expr_python"], extras="cli")


def _validate(given: argparse.Namespace) -> int:
    from finetune_cli.manifest.validate import validate  # noqa: PLC0415 - each command loads only what it needs

    return validate(given.files)
