# ruff: noqa: ANN401 - torch's types are imported where a test needs them
"""What a model makes of evaluation sets: read once, shared among ranks, equal to the library that does neither."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.evaluators import Evaluator
from finetune_api.workspace import Workspace
from finetune_trainer.workspace.manifest import InputsManifest, PreparedEvaluation
from tests.trainer.evaluation_sets import add_pair_set, add_reranking_set, add_triplet_set, read_held_out
from tests.trainer.gang import start_gang
from tests.trainer.rerankers import build_tiny_reranker
from tests.trainer.train_inputs import open_kept, prepare_pages, run_config

DIMENSIONS = (64, 48, 32, 16, 8, 4, 2)
QUERIES = 33  # with two ranks and batches of 16 pages, one rank has nothing to do in the last round


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare_pages(tmp_path_factory.mktemp("evaluation"), run_config(), rows=16, held_out=QUERIES)


@pytest.fixture(scope="module")
def prepared(workspace: Workspace) -> list[PreparedEvaluation]:
    """Sets of every kind, all of the same queries and pages."""
    queries, documents = read_held_out(workspace)
    content: Any = {"queries": queries, "documents": documents, "modality": "image"}
    return [
        InputsManifest.read(workspace.manifest).evaluations[0],
        add_reranking_set(workspace, "ranked", **content),
        add_triplet_set(workspace, "triplets", **content),
        add_pair_set(workspace, "similar", Evaluator.EMBEDDING_SIMILARITY, **content),
        add_pair_set(workspace, "right", Evaluator.BINARY_CLASSIFICATION, **content),
    ]


@pytest.fixture(scope="module")
def reranker(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reranker")
    build_tiny_reranker(folder, embedding_model=workspace.base_model)
    return folder


def test_one_pass_over_a_real_model_equals_the_library_that_encodes_per_dimension(workspace: Workspace) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from finetune_trainer.train.evaluation.dataset import load_retrieval_set
    from finetune_trainer.train.evaluation.evaluate import Evaluation, measure
    from finetune_trainer.train.gang.ranks import Ranks

    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    held_out = load_retrieval_set(workspace, InputsManifest.read(workspace.manifest).evaluations[0])
    pages = {
        name: open_kept(workspace, cell)
        for name, cell in zip(held_out.documents.ids, held_out.documents.cells, strict=True)
    }
    queries = dict(zip(held_out.queries.ids, held_out.queries.cells, strict=True))
    library = {
        dimension: InformationRetrievalEvaluator(
            queries, pages, dict(held_out.relevant), truncate_dim=dimension, batch_size=16
        )(model)["cosine_ndcg@10"]
        for dimension in DIMENSIONS
    }

    (measured,) = measure([Evaluation(held_out, ("ndcg@10",), DIMENSIONS)], encoder(workspace, Ranks()))
    ours = measured.scores

    assert ours.dimensions == pytest.approx(library, abs=1e-6)
    assert ours.value == ours.dimensions[64]
    assert len(set(ours.dimensions.values())) > 1


def test_a_model_with_prompts_is_measured_on_pairs_and_triplets_as_the_library_does(tmp_path: Path) -> None:
    import numpy as np
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator, TripletEvaluator

    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.evaluation.dataset import Items, PairSet, TripletSet
    from finetune_trainer.train.evaluation.encode import Encoder
    from finetune_trainer.train.evaluation.score import score
    from finetune_trainer.train.evaluation.shares import Shares
    from finetune_trainer.train.gang.ranks import Ranks
    from tests.trainer.model_folders import PROMPTED, load

    model = load(tmp_path, source=PROMPTED)
    texts = [[f"{word} {n}" for n in range(12)] for word in ("find", "page of", "table")]
    anchors, positives, negatives = (Items(ids=some, cells=some, modality="text") for some in texts)
    labels = np.arange(12) / 11
    pairs = PairSet("pairs", anchors, positives, labels)
    triplets = TripletSet("triplets", anchors, positives, negatives)

    seen = Encoder(model, InputReader.of(model, images=tmp_path), Shares(Ranks(), batch_size=4)).read([pairs, triplets])

    library = EmbeddingSimilarityEvaluator(texts[0], texts[1], list(labels))(model)
    assert score(pairs, seen, ("pearson",)).values == pytest.approx({"pearson": library["pearson_cosine"]}, abs=1e-6)
    library = TripletEvaluator(*texts)(model)
    assert score(triplets, seen, ("accuracy",)).values == {"accuracy": library["cosine_accuracy"]}


def test_a_reranker_scores_pages_as_the_librarys_evaluator_does(
    workspace: Workspace, prepared: list[PreparedEvaluation], reranker: Path
) -> None:
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator

    from finetune_trainer.train.evaluation.dataset import RerankingSet, load_set
    from finetune_trainer.train.evaluation.evaluate import Evaluation, measure
    from finetune_trainer.train.gang.ranks import Ranks

    dataset = load_set(workspace, prepared[1], ranked=False)
    assert isinstance(dataset, RerankingSet)
    pages = [open_kept(workspace, cell) for cell in dataset.documents.cells]
    samples = [
        {"query": query, "positive": [pages[one.rows[0]]], "negative": [pages[row] for row in one.rows[1:]]}
        for query, one in zip(dataset.queries.cells, dataset.candidates, strict=True)
    ]
    scorer = pair_scorer(workspace, reranker, Ranks())
    library = CrossEncoderRerankingEvaluator(samples, at_k=10)(scorer.model)

    (measured,) = measure([Evaluation(dataset, ("ndcg@10", "mrr@10", "map@100"))], scorer)
    ours = measured.scores

    assert ours.values == pytest.approx(
        {"ndcg@10": library["ndcg@10"], "mrr@10": library["mrr@10"], "map@100": library["map"]}, abs=1e-6
    )


def test_two_ranks_measure_as_one_process_does_and_open_each_page_once(
    workspace: Workspace, prepared: list[PreparedEvaluation]
) -> None:
    from finetune_trainer.train.gang.ranks import Ranks

    alone = measure_all(prepared, encoder(workspace, Ranks()), workspace)

    shared = start_gang(measure_in_gang, workspace, prepared, None).results()

    # 33 queries and 33 pages in two batches per rank; then a chunk in each dimension of each set, two of triplets.
    assert [one["rounds"] for one in shared] == [2 * 2 + 3 * 6] * 2
    assert [one["images_opened"] for one in shared] == [17, 16]
    assert [one["held"] for one in shared] == [{"query": 17, "document": 17}, {"query": 16, "document": 16}]
    assert [one.scores.name for one in alone] == ["held-out", "ranked", "triplets", "similar", "right"]
    for one in shared:
        assert_close(one["measured"], alone)


def test_two_ranks_measure_a_reranker_as_one_process_does(
    workspace: Workspace, prepared: list[PreparedEvaluation], reranker: Path
) -> None:
    from finetune_trainer.train.gang.ranks import Ranks

    sets = [prepared[1], prepared[3], prepared[4]]
    alone = measure_all(sets, pair_scorer(workspace, reranker, Ranks()), workspace)

    shared = start_gang(measure_in_gang, workspace, sets, reranker).results()

    # 33 queries with 6 candidates; of the other sets' pairs, about half are among them already.
    distinct = sum(one["pairs"] for one in shared)
    assert 6 * QUERIES < distinct < 6 * QUERIES + QUERIES
    assert [one["rounds"] for one in shared] == [-(-((distinct + 1) // 2) // 16)] * 2
    # All pairs of a page are one rank's; a page whose pairs do not end with the batch is opened in the next one again.
    assert QUERIES <= sum(one["images_opened"] for one in shared) <= QUERIES + sum(one["rounds"] for one in shared)
    for one in shared:
        assert_close(one["measured"], alone)


def test_a_page_of_many_pairs_is_prepared_once_per_batch_and_scores_the_same(
    workspace: Workspace, prepared: list[PreparedEvaluation], reranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    from finetune_trainer.train.evaluation import pairs
    from finetune_trainer.train.gang.ranks import Ranks

    counts, measured = [], []
    for is_once in (True, False):
        if not is_once:
            monkeypatch.setattr(pairs, "images_once", nullcontext)
        scorer = pair_scorer(workspace, reranker, Ranks())
        processor = CountingProcessor(scorer.model[0].processor.image_processor)
        scorer.model[0].processor.image_processor = processor
        measured.append([one.sample.values for one in measure_all(prepared[1:2], scorer, workspace)])
        counts.append(processor.images)

    num_batches = -(-6 * QUERIES // 16)
    assert counts[1] == 6 * QUERIES
    assert QUERIES <= counts[0] < QUERIES + num_batches  # a page whose pairs begin in one batch may end in the next
    assert measured[0] == measured[1]


class CountingProcessor:
    """An image processor that counts what it prepares."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.images = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, images: Any, **settings: Any) -> Any:
        from finetune_trainer.recipe.model.pair_images import flatten

        self.images += len(list(flatten(images)))
        return self.inner(images, **settings)


def assert_close(found: Any, expected: Any) -> None:
    """Say that two lists of measurements are of the same sets with the same numbers."""
    assert [one.scores.name for one in found] == [one.scores.name for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.scores.values == pytest.approx(other.scores.values, abs=1e-6)
        assert one.scores.dimensions == pytest.approx(other.scores.dimensions, abs=1e-6)
        assert one.sample.values == pytest.approx(other.sample.values, abs=1e-6)
        assert one.sample.labels == other.sample.labels


def encoder(workspace: Workspace, ranks: Any, **settings: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.evaluation.encode import Encoder
    from finetune_trainer.train.evaluation.shares import Shares

    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    reader = InputReader.of(model, images=workspace.images)
    return Encoder(model, reader, Shares(ranks, batch_size=16, **settings))


def pair_scorer(workspace: Workspace, folder: Path, ranks: Any, **settings: Any) -> Any:
    from sentence_transformers import CrossEncoder

    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.evaluation.pairs import PairScorer
    from finetune_trainer.train.evaluation.shares import Shares

    model = CrossEncoder(str(folder), device="cpu")
    reader = InputReader.of(model, images=workspace.images)
    return PairScorer(model, reader, Shares(ranks, batch_size=16, **settings))


def measure_all(prepared: list[PreparedEvaluation], reader: Any, workspace: Workspace) -> Any:
    from finetune_trainer.recipe.metrics import STANDARD_METRICS
    from finetune_trainer.train.evaluation.dataset import load_set
    from finetune_trainer.train.evaluation.encode import Encoder
    from finetune_trainer.train.evaluation.evaluate import Evaluation, measure

    dimensions = (64, 16) if isinstance(reader, Encoder) else ()
    evaluations = [
        Evaluation(load_set(workspace, one, ranked=True), STANDARD_METRICS[one.evaluator], dimensions)
        for one in prepared
    ]
    return measure(evaluations, reader)


def measure_in_gang(workspace: Workspace, prepared: list[PreparedEvaluation], reranker: Path | None) -> dict[str, Any]:
    from finetune_trainer.recipe.model import inputs
    from finetune_trainer.train.evaluation.dataset import load_set
    from finetune_trainer.train.gang.ranks import join

    opened: list[bytes] = []
    rounds: list[int] = []
    scored: list[int] = []
    open_image = inputs.open_image

    def open_and_count(content: bytes) -> Any:
        opened.append(content)
        return open_image(content)

    inputs.open_image = open_and_count
    ranks, settings = join(run_config()), {"on_batch": lambda: rounds.append(1)}
    reader = (
        encoder(workspace, ranks, **settings)
        if reranker is None
        else pair_scorer(workspace, reranker, ranks, **settings)
    )
    if reranker is not None:
        preprocess = reader.model.preprocess

        def preprocess_and_count(pairs: Any, **settings: Any) -> Any:
            scored.append(len(pairs))
            return preprocess(pairs, **settings)

        reader.model.preprocess = preprocess_and_count
    measured = measure_all(prepared, reader, workspace)
    counted: dict[str, Any] = {"rounds": len(rounds), "images_opened": len(opened), "pairs": sum(scored)}
    if reranker is None:
        seen = reader.read([load_set(workspace, one, ranked=True) for one in prepared])
        counted["held"] = {role: len(one.held.rows_MD) for (role, _), one in seen.encoded.items()}
    return {"measured": measured, **counted}


@pytest.mark.parametrize("autocast", [False, True], ids=["weights", "autocast"])
def test_the_score_of_a_bfloat16_reranker_does_not_move_in_steps(
    workspace: Workspace, reranker: Path, *, autocast: bool
) -> None:
    import torch

    from finetune_trainer.train.evaluation.dataset import Items, PairSet
    from finetune_trainer.train.gang.ranks import Ranks

    scorer = pair_scorer(workspace, reranker, Ranks(), autocast=torch.bfloat16 if autocast else None)
    scorer.model.activation_fn = torch.nn.Identity()
    if not autocast:
        scorer.model.to(torch.bfloat16)
    queries, _ = read_held_out(workspace)
    items = Items(queries, queries, "text")
    pairs = PairSet("set", items, items, np.zeros(QUERIES))

    scores = torch.from_numpy(scorer.read([pairs]).score_pairs(pairs))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        plain = scorer.model.predict(list(zip(queries, queries, strict=True)), convert_to_tensor=True)

    assert (plain == plain.bfloat16().float()).all()
    assert (scores != scores.bfloat16().float()).float().mean() > 0.9
    assert scorer.model.keep_in_fp32_modules == []
    assert type(scorer.model[2].linear) is torch.nn.Linear


def test_a_bfloat16_reranker_scores_where_it_is_used_as_where_it_was_measured(
    workspace: Workspace, reranker: Path, tmp_path: Path
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    from finetune_trainer.train.checkpoints.save import save_model
    from finetune_trainer.train.evaluation.dataset import Items, PairSet
    from finetune_trainer.train.gang.ranks import Ranks

    scorer = pair_scorer(workspace, reranker, Ranks())
    scorer.model.to(torch.bfloat16)
    queries, _ = read_held_out(workspace)
    items = Items(queries, queries, "text")
    pairs = PairSet("set", items, items, np.zeros(QUERIES))
    measured = scorer.read([pairs]).score_pairs(pairs)

    save_model(scorer.model, tmp_path / "saved")

    used = CrossEncoder(str(tmp_path / "saved"), device="cpu").to(torch.bfloat16)
    scores = [float(used.predict([(query, query)])[0]) for query in queries]
    assert scores == pytest.approx(measured, abs=1e-3)
    assert used.keep_in_fp32_modules == ["2.linear"]
    assert scorer.model.keep_in_fp32_modules == []


def test_a_model_that_computes_no_numbers_ends_the_run_with_a_reason(
    workspace: Workspace, prepared: list[PreparedEvaluation]
) -> None:
    import torch

    from finetune_api.reasons import Reason
    from finetune_trainer.train.gang.ranks import Ranks
    from finetune_trainer.workspace.failures import RunFailure

    broken = encoder(workspace, Ranks())
    with torch.no_grad():
        next(broken.model.parameters()).fill_(torch.nan)

    with pytest.raises(RunFailure, match="no finite number") as failure:
        measure_all(prepared, broken, workspace)

    assert failure.value.reason is Reason.NON_FINITE_LOSS


@pytest.mark.parametrize("workers", [0, 2])
def test_an_evaluation_with_workers_measures_the_same_and_draws_nothing_that_training_would_draw(
    workspace: Workspace, prepared: list[PreparedEvaluation], workers: int
) -> None:
    import torch

    from finetune_trainer.train.gang.ranks import Ranks

    alone = measure_all(prepared, encoder(workspace, Ranks()), workspace)
    before = torch.get_rng_state()

    measured = measure_all(prepared, encoder(workspace, Ranks(), workers=workers), workspace)

    assert measured == alone
    assert torch.equal(torch.get_rng_state(), before)


def test_a_text_that_names_an_image_stays_a_text(tmp_path: Path, workspace: Workspace) -> None:
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modality import infer_modality

    from finetune_trainer.recipe.model.inputs import InputReader

    page = tmp_path / "page.png"
    Image.new("RGB", (64, 64), "red").save(page)
    texts = [
        str(page),
        "https://example.org/page.jpg",
        "data:image/png;base64,AAAA",
        "https://youtu.be/x",
        "a red page",
    ]
    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    reader = InputReader.of(model, images=workspace.images)

    inputs = [reader.read(text, "text") for text in texts]

    assert inputs == [{"text": text} for text in texts[:4]] + ["a red page"]
    assert "pixel_values" not in model.preprocess(inputs)
    decoded = model.tokenizer.batch_decode(model.preprocess(inputs)["input_ids"])
    assert [text in rendered for text, rendered in zip(texts, decoded, strict=True)] == [True] * 5
    assert infer_modality(texts[0], supported_modalities=model.modalities) == "image", "the library would open the file"
