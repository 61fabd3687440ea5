"""Seven Matryoshka dimensions evaluated in one pass, and as the library does it, one after another.

`python -m benchmarks.one_pass [ROUNDS]` encodes 96 questions and all 384 rendered pages with the tiny Qwen3-VL of the
demo, both ways by turns in this process, and prints the median seconds of each and how far their scores are apart. On a
machine that does other work too, set OMP_NUM_THREADS=1: threads that wait for each other spin.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from benchmarks.figures import report
from examples.inputs import tiny_qwen3_vl
from examples.inputs.pages import build_rows, split_pages
from finetune_trainer.prepare.images.shards import ShardWriter
from finetune_trainer.recipe.model.inputs import InputReader, open_image
from finetune_trainer.train.evaluation.dataset import Items, RetrievalSet
from finetune_trainer.train.evaluation.encode import Encoder
from finetune_trainer.train.evaluation.retrieval import score_retrieval
from finetune_trainer.train.evaluation.shares import Shares
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.workspace.images import KeptImages

DIMENSIONS = (64, 48, 32, 24, 16, 12, 8)
METRICS = ("ndcg@10", "mrr@10", "recall@10")
BATCH_SIZE = 16
CUTOFFS = [10]

Scores = Mapping[int, Mapping[str, float]]
"""Each of METRICS by dimension."""


def main() -> None:
    """Run the benchmark and print its figures."""
    num_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiny_qwen3_vl.build(folder / "model")
        model = SentenceTransformer(str(folder / "model"), device="cpu")
        pages = write_pages(folder / "pages")
        shares = Shares(Ranks(), batch_size=BATCH_SIZE)
        encoder = Encoder(model, InputReader.of(model, images=folder / "pages"), shares)
        kept = KeptImages(folder / "pages")
        images = [open_image(kept.read(cell)) for cell in pages.documents.cells]
        evaluate_in_one_pass(encoder, pages)  # the first use of a model is slower than all later ones
        one_pass, per_dimension = [], []
        for _ in range(num_rounds):
            one_pass.append(timed(lambda: evaluate_in_one_pass(encoder, pages)))
            per_dimension.append(timed(lambda: evaluate_per_dimension(model, pages, images)))
    show(one_pass, per_dimension)


def write_pages(folder: Path) -> RetrievalSet:
    """Keep every page; return the set in which the held-out pages are asked for."""
    shards = ShardWriter(folder)
    split = split_pages(repeats=1)
    rows = build_rows([*split.held_out, *split.train], seed=0)
    for row in rows:
        shards.add(row["image"]["path"], row["image"]["bytes"], extension="png")
    shards.close()
    names = [row["image"]["path"] for row in rows]
    questions = [row["query"] for row in rows[: len(split.held_out)]]
    asked = names[: len(questions)]
    return RetrievalSet(
        name="pages",
        queries=Items(ids=asked, cells=questions, modality="text"),
        documents=Items(ids=names, cells=names, modality="image"),
        relevant={name: {name} for name in asked},
    )


def evaluate_in_one_pass(encoder: Encoder, pages: RetrievalSet) -> Scores:
    """Return the trainer's scores: everything is encoded once, and cut."""
    embeddings = encoder.read([pages])
    found = {size: score_retrieval(pages, embeddings, METRICS, dimension=size) for size in DIMENSIONS}
    return {size: {metric: float(values.mean()) for metric, values in one.items()} for size, one in found.items()}


def evaluate_per_dimension(model: SentenceTransformer, pages: RetrievalSet, images: list[Image.Image]) -> Scores:
    """Return the library's scores: everything is encoded for each dimension, from images that are decoded already."""
    found = {}
    for dimension in DIMENSIONS:
        evaluator = InformationRetrievalEvaluator(
            queries=dict(zip(pages.queries.ids, pages.queries.cells, strict=True)),
            corpus=dict(zip(pages.documents.ids, images, strict=True)),
            relevant_docs=dict(pages.relevant),
            truncate_dim=dimension,
            batch_size=BATCH_SIZE,
            mrr_at_k=CUTOFFS,
            ndcg_at_k=CUTOFFS,
            accuracy_at_k=CUTOFFS,
            precision_recall_at_k=CUTOFFS,
            map_at_k=CUTOFFS,
            write_csv=False,
        )
        values = evaluator(model)
        found[dimension] = {metric: float(values[f"cosine_{metric}"]) for metric in METRICS}
    return found


def timed(work: Callable[[], Scores]) -> tuple[float, Scores]:
    """Return the seconds that `work` takes, and its scores."""
    started = time.perf_counter()
    scores = work()
    return time.perf_counter() - started, scores


def show(one_pass: list[tuple[float, Scores]], per_dimension: list[tuple[float, Scores]]) -> None:
    """Print the figures of all rounds."""
    fast = statistics.median(seconds for seconds, _ in one_pass)
    slow = statistics.median(seconds for seconds, _ in per_dimension)
    ours, library = one_pass[-1][1], per_dimension[-1][1]
    apart = {
        metric: max(abs(ours[dimension][metric] - library[dimension][metric]) for dimension in DIMENSIONS)
        for metric in METRICS
    }
    report(
        "one-pass",
        [
            ("one pass over all dimensions", fast, "s", ""),
            ("the library, per dimension", slow, "s", ""),
            ("ratio", slow / fast, "", ""),
            *[(f"largest difference of {metric}", value, "", "under 1e-6") for metric, value in apart.items()],
            *[(f"ndcg@10 at {dimension}", ours[dimension]["ndcg@10"], "", "") for dimension in DIMENSIONS],
        ],
    )


if __name__ == "__main__":
    main()
