"""What looks at files alone: `init`, `validate` and `schema`."""

import argparse
import sys

from finetune_cli.command import Commands, add_command

#: Of `init`: what is trained, and where. Here, so that --help need not load what they mean.
TASKS = ("text-embedding", "text-reranker", "page-embedding", "page-reranker")
PLACES = ("laptop", "gpu", "cluster")


def add_commands(commands: Commands) -> None:
    """Add them to the command line."""
    _add_init(commands)
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


def _add_init(commands: Commands) -> None:
    init = add_command(
        commands,
        "init",
        "write a first manifest",
        more="Asks on a terminal for what no option says; elsewhere, and for empty answers, the quickstart is taken. "
        "finetunejob.schema.json, for editors, is written beside it. Nothing is written over without --force.",
        examples=[
            "finetune init",
            "finetune init job.yaml --task page-embedding --data hf://acme/pages --where gpu",
            "finetune init job.yaml --where cluster --nodes 2 --accelerators 4 --repository acme/pages",
            "finetune init - --yes",
        ],
    )
    init.add_argument(
        "file", nargs="?", default="job.yaml", metavar="FILE", help="where to write it (job.yaml), or - for here"
    )
    init.add_argument("--task", choices=TASKS, help="what is trained (text-embedding)")
    init.add_argument("--where", choices=PLACES, help="where it will run: CPU, one GPU, or Kubernetes (laptop)")
    init.add_argument("--model", metavar="SOURCE", help="model to begin with, such as hf://OWNER/NAME")
    init.add_argument("--data", metavar="SOURCE", help="rows to learn from; a tenth is held out to measure")
    init.add_argument("--query", metavar="COLUMN", help="column of the questions")
    init.add_argument("--positive", metavar="COLUMN", help="column of the texts or pages that answer them")
    init.add_argument("--negative", metavar="COLUMN", help="column of texts or pages that do not; rerankers need one")
    init.add_argument("--repository", metavar="OWNER/NAME", help="where on the Hub the model goes if it got better")
    init.add_argument("--nodes", type=int, metavar="N", help="nodes of the cluster (1)")
    init.add_argument(
        "--accelerators", type=int, metavar="N", help="accelerators per node; 0 is CPU (1, on a laptop 0)"
    )
    init.add_argument("--name", metavar="NAME", help="name of the job")
    init.add_argument("--yes", action="store_true", help="ask nothing")
    init.add_argument("--force", action="store_true", help="write over files that are there")
    init.add_argument("-o", "--output", choices=["text", "json"], default="text", help="how to print (text)")
    init.set_defaults(command=_init, modules=["cel_expr_python", "rich"], extras="cli")


def _init(given: argparse.Namespace) -> int:
    from finetune_cli.manifest.init import init  # noqa: PLC0415 - each command loads only what it needs

    return init(given)


def _validate(given: argparse.Namespace) -> int:
    from finetune_cli.manifest.validate import validate  # noqa: PLC0415 - as above

    return validate(given.files, as_json=given.output == "json")


def _schema(_: argparse.Namespace) -> int:
    from finetune_api.json_schema import render  # noqa: PLC0415 - as above

    sys.stdout.write(render())
    return 0
