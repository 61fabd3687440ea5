"""`python -m benchmarks.training --help`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import FOLDER
from benchmarks.training.corpus import run_corpus
from benchmarks.training.sides import ENVIRONMENT

DESCRIPTION = """\
Trains one job twice: as the published recipe, a plain script, and through finetune_trainer (prepare and train, started
as its pods start them). Same rows, same model, same global batch. Prints seconds per phase, memory and NDCG@10, and
writes build/benchmarks/training-*.json. Exits with 1 if a goal is not reached.
"""
SMALL_ROWS, SMALL_HELD_OUT = 640, 48
TEXT_ROWS, TEXT_HELD_OUT = 128, 48
RERANKER_ROWS, RERANKER_HELD_OUT = 960, 48


def main(arguments: Sequence[str]) -> int:
    """Run what the command line names."""
    options = parse(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="training-", dir=FOLDER) as folder:
        match options.scale:
            case "small":
                code = run_small(Path(folder), rows=options.rows, rounds=options.rounds, processes=options.processes)
            case "text":
                code = run_text(Path(folder), rows=options.rows, rounds=options.rounds, processes=options.processes)
            case "reranker":
                code = run_reranker(Path(folder), rows=options.rows, rounds=options.rounds, processes=options.processes)
            case "gpu":
                code = run_gpu(Path(folder), toy=options.toy)
            case "corpus":
                code = run_corpus(options.documents, processes=options.processes, before=options.before)
            case "checkpoints":
                from benchmarks.training.checkpoints import run_checkpoints  # noqa: PLC0415 - torch takes seconds

                code = run_checkpoints(Path(folder), megabytes=options.megabytes, processes=options.processes)
            case _:
                from benchmarks.training.levers import run_levers  # noqa: PLC0415 - torch takes seconds

                code = run_levers(Path(folder), names=options.names)
    return code


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; prints help and exits where it is asked for."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.training", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scales = parser.add_subparsers(dest="scale", required=True)
    small = scales.add_parser("small", help="tiny Qwen3-VL, drawn A4 pages, minutes on 2 CPU cores")
    small.add_argument("--rows", type=int, default=SMALL_ROWS, help="training rows (%(default)s)")
    text = scales.add_parser("text", help="all-MiniLM-L6-v2 on Debian's manuals, minutes on 2 CPU cores")
    text.add_argument("--rows", type=int, default=TEXT_ROWS, help="training rows (%(default)s)")
    reranker = scales.add_parser("reranker", help="tiny Qwen3-VL as reranker of drawn A4 pages, minutes on 2 CPU cores")
    reranker.add_argument("--rows", type=int, default=RERANKER_ROWS, help="labeled pairs to train on (%(default)s)")
    gpu = scales.add_parser("gpu", help="steps of the published recipe on one GPU, without downloads, in 8 minutes")
    model = gpu.add_mutually_exclusive_group(required=True)
    model.add_argument("--random-weights", action="store_true", help="a Qwen3-VL of the shape of Qwen3-VL-Embedding-2B")
    model.add_argument("--toy", action="store_true", help="a tiny one on the CPU, to see that all of it works")
    for scale in (small, text, reranker):
        scale.add_argument("--rounds", type=int, default=1, help="runs of each side, in turn (%(default)s)")
        scale.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="ranks of each case (1 2)")
    corpus = scales.add_parser("corpus", help="memory and time of evaluating many documents, embeddings made up")
    corpus.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000], help="(10000 100000)")
    corpus.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="ranks of each case (1 2 4)")
    corpus.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="an earlier checkout to measure beside this one"
    )
    checkpoints = scales.add_parser("checkpoints", help="bytes and seconds of a checkpoint, weights made up")
    checkpoints.add_argument("--megabytes", type=int, default=300, help="of weights and optimizer (%(default)s)")
    checkpoints.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="ranks of each case (1 2 4)")
    levers = scales.add_parser("levers", help="each lever of the trainer's speed on its own, on and off")
    levers.add_argument("names", nargs="*", metavar="LEVER", help="levers to measure; all if none is named")
    return parser.parse_args(arguments)


def run_small(folder: Path, *, rows: int, rounds: int, processes: list[int]) -> int:
    """Build the inputs of the small scale and compare both sides on them."""
    from benchmarks.training.compare import compare  # noqa: PLC0415 - help comes without delay
    from benchmarks.training.small import build_small  # noqa: PLC0415 - as above

    recipe = build_small(folder, rows=rows, held_out=SMALL_HELD_OUT)
    return 0 if compare("training-small", recipe, folder, processes=processes, rounds=rounds) else 1


def run_text(folder: Path, *, rows: int, rounds: int, processes: list[int]) -> int:
    """Fetch the inputs of the text scale and compare both sides on them."""
    from benchmarks.training.compare import compare  # noqa: PLC0415 - help comes without delay
    from benchmarks.training.texts import build_texts  # noqa: PLC0415 - as above

    recipe = build_texts(folder, rows=rows, held_out=TEXT_HELD_OUT)
    return 0 if compare("training-text", recipe, folder, processes=processes, rounds=rounds) else 1


def run_reranker(folder: Path, *, rows: int, rounds: int, processes: list[int]) -> int:
    """Build the inputs of the rerankers' scale and compare both sides on them."""
    from benchmarks.training.compare import compare  # noqa: PLC0415 - help comes without delay
    from benchmarks.training.small import build_small_reranker  # noqa: PLC0415 - as above

    recipe = build_small_reranker(folder, rows=rows, held_out=RERANKER_HELD_OUT)
    return 0 if compare("training-reranker", recipe, folder, processes=processes, rounds=rounds) else 1


def run_gpu(folder: Path, *, toy: bool) -> int:
    """Measure the steps of both sides; refuses to start without a GPU."""
    import torch  # noqa: PLC0415 - takes seconds

    from benchmarks.training.gpu.inputs import QWEN_2B, TOY  # noqa: PLC0415 - help comes without delay
    from benchmarks.training.gpu.run import run_gpu as run  # noqa: PLC0415 - as above

    if not toy and not torch.cuda.is_available():
        print("gpu: no GPU is visible; take a machine with one, or see what it does with --toy", file=sys.stderr)
        return 2
    return run(folder, TOY if toy else QWEN_2B)


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    sys.exit(main(sys.argv[1:]))
