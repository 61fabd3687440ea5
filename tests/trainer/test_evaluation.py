# ruff: noqa: ANN401 - torch's types are imported where a test needs them
import random
from pathlib import Path
from typing import Any

import pytest

from finetune_api.workspace import Workspace
from finetune_trainer.data.manifest import InputsManifest
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import prepare_pages, run_config

DIMENSIONS = (64, 48, 32, 16, 8, 4, 2)
METRICS = ("ndcg@10", "mrr@10", "recall@10", "map@5", "ndcg@3", "recall@1")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare_pages(tmp_path_factory.mktemp("evaluation"), run_config(), rows=16, held_out=40)


def embeddings(count: int, *, seed: int, levels: int) -> Any:
    """Return vectors of few distinct values, so that many scores tie."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, levels, (count, DIMENSIONS[0]), generator=generator).float()


@pytest.mark.parametrize("levels", [2, 3, 1000], ids=["all tied", "many ties", "no ties"])
def test_scores_equal_the_librarys_evaluator_in_every_dimension(levels: int) -> None:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    from finetune_trainer.evaluation.dataset import Items, RetrievalSet
    from finetune_trainer.evaluation.score import score

    queries, documents = embeddings(23, seed=1, levels=levels), embeddings(111, seed=2, levels=levels)
    rng = random.Random(0)
    query_ids, document_ids = [f"q{n}" for n in range(23)], [str(n) for n in range(111)]
    relevant = {query: set(rng.sample(document_ids, rng.randint(1, 4))) for query in query_ids}
    dataset = RetrievalSet(
        "set", Items(query_ids, query_ids, "text"), Items(document_ids, document_ids, "text"), relevant
    )

    class Lookup:
        """Stands where the library wants a model, and answers with the very same embeddings, cut as it asks."""

        similarity_fn_name = "cosine"
        similarity = staticmethod(cos_sim)

        def encode_query(self, texts: list[str], *, truncate_dim: int, **_: object) -> object:
            return queries[[query_ids.index(text) for text in texts]][:, :truncate_dim]

        def encode_document(self, texts: list[str], *, truncate_dim: int, **_: object) -> object:
            return documents[[int(text) for text in texts]][:, :truncate_dim]

    for dimension in DIMENSIONS:
        library = InformationRetrievalEvaluator(
            dict(zip(query_ids, query_ids, strict=True)),
            dict(zip(document_ids, document_ids, strict=True)),
            relevant,
            truncate_dim=dimension,
            ndcg_at_k=[3, 10],
            mrr_at_k=[10],
            map_at_k=[5],
            precision_recall_at_k=[1, 10],
            score_functions={"cosine": cos_sim},
        ).compute_all_metrics(Lookup())["cosine"]

        ours = score(
            dataset,
            queries_QD=queries,
            documents_ND=documents,
            dimension=dimension,
            metrics=METRICS,
            similarity=cos_sim,
        )

        expected = {
            metric: library[metric.partition("@")[0] + "@k"][int(metric.partition("@")[2])] for metric in METRICS
        }
        assert ours == pytest.approx(expected, abs=1e-6)


def test_one_pass_over_a_real_model_equals_the_library_that_encodes_per_dimension(workspace: Workspace) -> None:
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    from finetune_trainer.evaluation.dataset import load_retrieval_set

    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    held_out = load_retrieval_set(workspace, InputsManifest.read(workspace.manifest).evaluations[0])
    pages = {
        name: Image.open(workspace.images / cell)
        for name, cell in zip(held_out.documents.ids, held_out.documents.cells, strict=True)
    }
    queries = dict(zip(held_out.queries.ids, held_out.queries.cells, strict=True))
    library = {
        dimension: InformationRetrievalEvaluator(
            queries, pages, dict(held_out.relevant), truncate_dim=dimension, batch_size=16
        )(model)["cosine_ndcg@10"]
        for dimension in DIMENSIONS
    }

    ours = evaluate_alone(workspace)

    assert ours.dimensions == pytest.approx(library, abs=1e-6)
    assert ours.value == ours.dimensions[64]
    assert len(set(ours.dimensions.values())) > 1


def test_two_ranks_score_as_one_process_does(workspace: Workspace) -> None:
    alone = evaluate_alone(workspace)

    shared = start_gang(evaluate_in_gang, workspace).results()

    assert [one["rounds"] for one in shared] == [2 * 2, 2 * 2]  # 40 queries and 40 pages, 20 each, in batches of 16
    assert [one["images_opened"] for one in shared] == [20, 20]
    for one in shared:
        assert one["scores"].dimensions == pytest.approx(alone.dimensions, abs=1e-6)
        assert one["scores"].values == pytest.approx(alone.values, abs=1e-6)


def evaluate_alone(workspace: Workspace) -> Any:
    from finetune_trainer.distributed.ranks import Ranks

    return evaluate(workspace, Ranks(), on_batch=lambda: None)


def evaluate(workspace: Workspace, ranks: Any, **settings: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    from finetune_trainer.evaluation.dataset import load_retrieval_set
    from finetune_trainer.evaluation.encode import Encoder
    from finetune_trainer.evaluation.evaluate import Evaluation
    from finetune_trainer.model.inputs import InputReader

    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    held_out = load_retrieval_set(workspace, InputsManifest.read(workspace.manifest).evaluations[0])
    encoder = Encoder(model, InputReader(workspace.images, model.modalities), ranks, batch_size=16, **settings)
    return Evaluation(held_out, "ndcg@10", DIMENSIONS).run(encoder)


def evaluate_in_gang(workspace: Workspace) -> dict[str, Any]:
    from finetune_trainer.distributed.ranks import join
    from finetune_trainer.model import inputs

    opened: list[Path] = []
    rounds: list[int] = []
    open_image = inputs.open_image

    def open_and_count(path: Path) -> Any:
        opened.append(path)
        return open_image(path)

    inputs.open_image = open_and_count
    scores = evaluate(workspace, join(run_config()), on_batch=lambda: rounds.append(1))
    return {"scores": scores, "rounds": len(rounds), "images_opened": len(opened)}


def test_a_text_that_names_an_image_stays_a_text(tmp_path: Path, workspace: Workspace) -> None:
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modality import infer_modality

    from finetune_trainer.model.inputs import InputReader

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
    reader = InputReader(workspace.images, model.modalities)

    inputs = [reader.read(text, "text") for text in texts]

    assert inputs == [{"text": text} for text in texts[:4]] + ["a red page"]
    assert "pixel_values" not in model.preprocess(inputs)
    decoded = model.tokenizer.batch_decode(model.preprocess(inputs)["input_ids"])
    assert [text in rendered for text, rendered in zip(texts, decoded, strict=True)] == [True] * 5
    assert infer_modality(texts[0], supported_modalities=model.modalities) == "image", "the library would open the file"
