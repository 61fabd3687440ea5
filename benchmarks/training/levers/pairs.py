"""Pages of several pairs of a reranker, in a loss or an evaluation: prepared once, or for every pair."""

from collections.abc import Callable

import numpy as np
import torch
from PIL.Image import Image
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense
from sentence_transformers.cross_encoder.losses import CachedMultipleNegativesRankingLoss

from benchmarks.training.levers.finding import Finding, seconds_of
from benchmarks.training.levers.setting import Setting
from finetune_trainer.recipe.batches.rows import RowReader, read_rows
from finetune_trainer.recipe.model.pair_images import images_once, remember
from finetune_trainer.train.evaluation.dataset import Candidates, RerankingSet
from finetune_trainer.train.evaluation.pairs import PairScorer
from finetune_trainer.train.evaluation.shares import Shares
from finetune_trainer.train.gang.ranks import Ranks

ROWS, NEGATIVES = 8, 4
CANDIDATES, BATCH_SIZE = 8, 16


def measure_pairs(setting: Setting) -> list[Finding]:
    """Forward and backward of one step of a reranker, its pages decoded anew each time."""
    model = build_reranker(setting)
    loss = CachedMultipleNegativesRankingLoss(model, num_negatives=NEGATIVES, mini_batch_size=ROWS)
    counts = {is_once: count_images(model, step(setting, model, loss, is_once=is_once)) for is_once in (False, True)}
    off, on = seconds_of(*(step(setting, model, loss, is_once=is_once) for is_once in (False, True)))
    note = f"{counts[False]} pages preprocessed instead of {counts[True]}"
    return [Finding(f"reranker, {ROWS} rows with {NEGATIVES} negatives of the batch", "s per step", off, on, note)]


def measure_candidates(setting: Setting) -> list[Finding]:
    """An evaluation with candidates, pair after pair, or pairs of the same page together and the page prepared once."""
    model = build_reranker(setting).eval()
    dataset = rank_held_out(setting)
    pairs = [
        (query, dataset.documents.cells[row])
        for query, one in zip(dataset.queries.cells, dataset.candidates, strict=True)
        for row in one.rows
    ]

    def pair_after_pair() -> None:
        for start in range(0, len(pairs), BATCH_SIZE):
            read = [
                (setting.reader.read(query, "text"), setting.reader.read(page, "image"))
                for query, page in pairs[start : start + BATCH_SIZE]
            ]
            model.predict(read, batch_size=BATCH_SIZE, show_progress_bar=False)

    def page_after_page() -> None:
        PairScorer(model, setting.reader, Shares(Ranks(), batch_size=BATCH_SIZE)).read([dataset])

    off, on = (1000 * seconds / len(pairs) for seconds in seconds_of(pair_after_pair, page_after_page))
    counts = [count_images(model, work) for work in (pair_after_pair, page_after_page)]
    note = f"{counts[0]} pages preprocessed instead of {counts[1]}"
    return [Finding(f"reranker's evaluation, {CANDIDATES} candidates per query", "ms per pair", off, on, note)]


def rank_held_out(setting: Setting) -> RerankingSet:
    """Return the held-out queries, each with its page and those of the next ones."""
    held_out = setting.held_out
    numbers = {name: number for number, name in enumerate(held_out.documents.ids)}
    answers = [numbers[next(iter(held_out.relevant[query]))] for query in held_out.queries.ids]
    shown = [[answers[(first + step) % len(answers)] for step in range(CANDIDATES)] for first in range(len(answers))]
    given = np.arange(CANDIDATES) < 1
    candidates = [Candidates(rows=rows, num_relevant=1, given=given) for rows in shown]
    return RerankingSet("held-out", held_out.queries, held_out.documents, candidates, ranked=False)


def build_reranker(setting: Setting) -> CrossEncoder:
    """Return the base model's transformer with one score on top."""
    transformer, pooling = list(setting.model)[:2]
    size = transformer.get_embedding_dimension()
    score = Dense(size, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    return CrossEncoder(modules=[transformer, pooling, score], device="cpu").train()


def step(setting: Setting, model: CrossEncoder, loss: torch.nn.Module, *, is_once: bool) -> Callable[[], None]:
    """Return a step that reads its rows, and prepares each page once or not."""
    rows = list(read_rows(setting.workspace, setting.train).select(range(ROWS)))
    reader = RowReader(setting.reader, [setting.train])
    names = [column.name for column in setting.train.columns][:2]

    def run() -> None:
        read = [reader.read(row) for row in rows]
        columns = [[row[name] for row in read] for name in names]
        pages = [one for column in columns for one in column if is_once and isinstance(one, Image)]
        for page in pages:
            remember(page)
        model.zero_grad()
        with images_once(model):
            loss(columns, torch.ones(ROWS)).backward()

    return run


def count_images(model: CrossEncoder, work: Callable[[], None]) -> int:
    """Return how many images the model's own processor prepares meanwhile."""
    processor = model[0].processor
    inner, seen = processor.image_processor, []

    class Counting:
        """Counts and passes on."""

        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

        def __call__(self, images: object, **settings: object) -> object:
            seen.append(len(images) if isinstance(images, list) else 1)
            return inner(images, **settings)

    processor.image_processor = Counting()
    try:
        work()
    finally:
        processor.image_processor = inner
    return sum(seen)
