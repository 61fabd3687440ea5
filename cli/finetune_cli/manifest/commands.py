"""What looks at files alone: `validate` and `schema`."""

import argparse
import sys

from finetune_cli.command import Commands, add_command


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    validate = add_command(
        commands,
        "validate",
        "print every problem of manifests, with file, line and field",
        more="Asks neither a cluster nor the Hub.",
        examples=[
            "finetune validate job.yaml",
            "finetune validate job.yaml -o json | jq .problems",
            "helm template . | finetune validate -",
        ],
    )
    validate.add_argument("files", nargs="+", metavar="FILE", help="YAML with FinetuneJobs, or - for standard input")
    validate.add_argument("-o", "--output", choices=["text", "json"], default="text", help="how to print (text)")
    validate.set_defaults(command=_validate, modules=["cel_expr_python"], extras="cli")
    schema = add_command(
        commands,
        "schema",
        "print the JSON Schema of a FinetuneJob, for editors",
        more="A manifest with the line `# yaml-language-server: $schema=finetunejob.schema.json`, or with its address, "
        "is then completed and checked while it is written. It is crds/finetunejob.schema.json of the same release.",
        examples=["finetune schema > finetunejob.schema.json"],
    )
    schema.set_defaults(command=_schema, modules=[], extras="")


def _validate(given: argparse.Namespace) -> int:
    from finetune_cli.manifest.validate import validate  # noqa: PLC0415 - each command loads only what it needs

    return validate(given.files, as_json=given.output == "json")


def _schema(_: argparse.Namespace) -> int:
    from finetune_api.json_schema import render  # noqa: PLC0415 - as above

    sys.stdout.write(render())
    return 0
