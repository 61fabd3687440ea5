"""The verbs on the command line: names, options, examples. Loads nothing that --help does not need."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from finetune_cli.command import Commands, add_command

ALL = "all"
_STOPPED = "Stopped; the job is as it was."

#: Where verbs are that need more than the others.
_MODULES = {"submit": "submitting", "download": "downloading", "serve": "serving"}
Verb = tuple[str, str, str, tuple[str, ...]]


#: Verbs that take a job and nothing else: name, what they do, what else is to be known, examples.
_LOOKING: tuple[Verb, ...] = (
    (
        "status",
        "show one job on one screen",
        "Phases, progress, loss and score over time, checkpoints, restarts; why it is there and whose move it is.",
        ("finetune status pages -n search", "finetune status pages -o json | jq .status.metrics"),
    ),
    (
        "explain",
        "say in one line why a job is where it is, and whose move it is",
        "",
        ("finetune explain pages -n search", "finetune explain pages -o json | jq -r .move"),
    ),
    (
        "watch",
        "show a job until it has ended",
        "Ends with the exit code of the role that ended the job, 0 if it has succeeded. Ctrl-C changes nothing for it.",
        ("finetune watch pages -n search", "finetune watch pages -o json | jq .status.progress.percent"),
    ),
)
_CHANGING: tuple[Verb, ...] = (
    (
        "suspend",
        "take a job's pods away; its volume and checkpoints stay",
        "",
        ("finetune suspend pages -n search",),
    ),
    (
        "resume",
        "let a suspended job go on from its newest checkpoint",
        "",
        ("finetune resume pages -n search",),
    ),
)
#: Verbs that write a file, with how it is called.
_WRITING = (
    (
        "report",
        "write what is known of a job as one HTML file",
        "Curves, scores with their intervals, embedding sizes, data, revisions, time. It needs no network to be read.",
        ("finetune report pages -n search", "finetune report pages --file reports/pages.html"),
        "JOB.html",
    ),
    (
        "bundle",
        "write what is to be known of a job that goes wrong into one archive",
        "The job, its pods, Jobs, claims, events and logs, without secrets. Look through it before you give it away.",
        ("finetune bundle pages -n search", "finetune bundle pages --file /tmp/pages.tar.gz"),
        "JOB-bundle.tar.gz",
    ),
)


def add_commands(commands: Commands) -> None:
    """Add every verb."""
    _add_submit(commands)
    _add_list(commands)
    for name, short, more, examples in _LOOKING:
        _takes_job(_add(commands, name, short, more, examples))
    _add_logs(commands)
    for name, short, more, examples, file in _WRITING:
        writing = _add(commands, name, short, more, examples)
        _takes_job(writing)
        writing.add_argument("--file", type=Path, metavar="FILE", help=f"where to write it ({file})")
    for name, short, more, examples in _CHANGING:
        _takes_job(_add(commands, name, short, more, examples))
    _add_rerun(commands)
    _add_download(commands)
    _add_serve(commands)


def _add_serve(commands: Commands) -> None:
    serve = _add(
        commands,
        "serve",
        "print a manifest that serves what a job has published",
        "Of Text Embeddings Inference or vLLM, whichever loads it as it was trained; pinned to the commit, in the "
        "job's namespace. What neither does is refused, with the reason. No server was tried here.",
        ["finetune serve pages -n search | kubectl apply -f -", "finetune serve pages -o kserve > pages.yaml"],
        outputs=("deployment", "kserve"),
    )
    _takes_job(serve)
    serve.add_argument("--server-name", metavar="NAME", help="what it is called (JOB)")


def _add_download(commands: Commands) -> None:
    download = _add(
        commands,
        "download",
        "fetch the model of a job that has ended",
        "From the Hub, at its commit, if it was published there; else off the job's volume, by a pod that is there for "
        "as long. Each file is compared with its size and hash; the folder is there whole, or not at all.",
        [
            "finetune download pages -n search",
            "finetune download pages models/pages --from volume",
            "finetune download pages -o json | jq -r .folder",
        ],
    )
    _takes_job(download)
    download.add_argument("dir", nargs="?", type=Path, metavar="DIR", help="folder to write, not there yet (JOB)")
    download.add_argument("--from", dest="origin", choices=["hub", "volume"], help="where to take it from")
    download.add_argument(
        "--image", metavar="IMAGE", help="with sleep and dd, for the pod that reads the volume (the job's own)"
    )


def _add_list(commands: Commands) -> None:
    examples = ["finetune list -A", "finetune list -n search -o json"]
    listing = _add(commands, "list", "show a line for each job", "", examples)
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="jobs of all namespaces")


def _add_rerun(commands: Commands) -> None:
    rerun = _add(
        commands,
        "rerun",
        "run a job that has ended once more, from what its volume holds",
        "Sets spec.rerun. What is trained already is not trained again: a model that was refused is only published.",
        ["finetune rerun pages -n search", 'finetune rerun pages --text "after the quota was raised"'],
    )
    _takes_job(rerun)
    rerun.add_argument("--text", metavar="TEXT", help="the new spec.rerun (the time)")


def _add_logs(commands: Commands) -> None:
    logs = _add(
        commands,
        "logs",
        "print the logs of a job's pods, or what is left of them",
        "By default of the pod that was made last; in training that of rank 0, which says what all do. Of a pod that "
        "is gone: the copy on the volume while another pod of the job has it, else the last lines in the status.",
        [
            "finetune logs pages -n search -f",
            "finetune logs pages --rank all",
            "finetune logs pages --rank 3 --attempt 1",
            "finetune logs pages --role prepare -o json | jq -c .line",
        ],
    )
    _takes_job(logs)
    logs.add_argument(
        "--role", choices=["prepare", "train", "publish", "track"], help="whose (of the first three the one begun last)"
    )
    logs.add_argument("--rank", type=_rank, metavar="N|all", help="of the pod of this training process, or of all pods")
    logs.add_argument("--attempt", type=int, metavar="N", help="of this gang (the newest)")
    logs.add_argument("--tail", type=int, metavar="N", help="the last N lines alone")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as long as the pods do")


def _add_submit(commands: Commands) -> None:
    submit = _add(
        commands,
        "submit",
        "validate the jobs of a file and create them",
        "Prints what is wrong as `finetune validate` does, and creates nothing then.",
        ["finetune submit job.yaml -n search --watch", "finetune submit - -o json < job.yaml"],
    )
    submit.add_argument("file", metavar="FILE", help="YAML with FinetuneJobs, or - for standard input")
    submit.add_argument(
        "--watch", action="store_true", help="show the job until it has ended, as `finetune watch` does"
    )


def _add(  # noqa: PLR0913 - what its help shows, in order
    commands: Commands,
    name: str,
    short: str,
    more: str,
    examples: Sequence[str],
    *,
    outputs: tuple[str, str] = ("text", "json"),
) -> argparse.ArgumentParser:
    """Add a verb, which is the function of that name in verbs.py."""
    parser = add_command(commands, name, short, more=more, examples=examples)
    parser.add_argument("-n", "--namespace", metavar="NAME", help="namespace (the context's)")
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig (its current one)")
    parser.add_argument("-o", "--output", choices=outputs, default=outputs[0], help=f"how to print ({outputs[0]})")
    verb = _verb("list_jobs" if name == "list" else name)
    parser.set_defaults(command=verb, modules=["kubernetes", "rich", "huggingface_hub"], extras="cli", stopped=_STOPPED)
    return parser


def _takes_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="JOB", help="name of the FinetuneJob")


def _verb(name: str) -> Callable[[argparse.Namespace], int]:
    def run(given: argparse.Namespace) -> int:
        # Each loads only what it needs, and all of them the Kubernetes client.
        verbs = importlib.import_module(f"finetune_cli.cluster.{_MODULES.get(name, 'verbs')}")
        from finetune_cli.cluster.refusal import RefusalError  # noqa: PLC0415 - as above

        try:
            return int(getattr(verbs, name)(given))
        except RefusalError as refusal:
            sys.stderr.write(f"{refusal}\n")
            return refusal.code
        except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    return run


def _rank(text: str) -> int | str:
    if text != ALL and not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no rank; give a number from 0, or {ALL}")
    return text if text == ALL else int(text)
