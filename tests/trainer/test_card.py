"""The model card: what the Hub and people read."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api.evaluators import Evaluator
from finetune_api.status import EvaluationScore
from finetune_trainer.publish.card.metadata import read_metadata
from finetune_trainer.publish.card.render import render_card
from finetune_trainer.publish.gate import main_score
from finetune_trainer.publish.publish import base_cards
from finetune_trainer.workspace.manifest import Column, InputsManifest, PreparedEvaluation, PreparedTrain
from finetune_trainer.workspace.report import Report
from tests.trainer.conftest import MakeRun, Run
from tests.trainer.publishing import MODEL, finished_run

PICTURES = {name: f"runs/1/{name}.png" for name in ("loss", "score", "dimensions")}


@pytest.fixture
def run(make_run: MakeRun, small_model: Path) -> Run:
    return finished_run(make_run, small_model)


def render(run: Run) -> str:
    workspace = run.workspace
    return render_card(
        run.config,
        Report.read(workspace.report),
        InputsManifest.read(workspace.manifest),
        base_cards=base_cards(run.config, run.workspace),
        pictures=PICTURES,
    )


def metadata(card: str) -> dict[str, object]:
    block: dict[str, object] = yaml.safe_load(card.split("---\n")[1])
    return block


def test_the_metadata_names_base_model_datasets_licence_and_results(run: Run) -> None:
    card = render(run)

    found = metadata(card)
    results = found.pop("model-index")
    assert found == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "visual-document-retrieval",
        "tags": ["sentence-transformers", "feature-extraction", "finetune-operator", "multimodal", "matryoshka"],
        "base_model": "demo/tiny",
        "base_model_relation": "finetune",
        "license": "apache-2.0",
        "datasets": ["demo/pages"],
    }
    assert results == [
        {
            "name": "finetuned",
            "results": [
                {
                    "task": {"type": "information-retrieval", "name": "Information Retrieval"},
                    "dataset": {"name": "held-out", "type": "demo/pages", "split": "test"},
                    "metrics": [
                        {"type": "ndcg@10", "name": "NDCG@10", "value": 0.8},
                        {"type": "mrr@10", "name": "MRR@10", "value": 0.7},
                        {"type": "recall@10", "name": "Recall@10", "value": 0.9},
                    ],
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    "line",
    [
        "| NDCG@10, held-out | 0.1000 | 0.8000 | +0.7000 |",
        "| MRR@10, held-out | 0.0500 | 0.7000 | +0.6500 |",
        "| Recall@10, held-out | 0.2000 | 0.9000 | +0.7000 |",
        "| 64 | 0.1000 | 0.8000 | +0.7000 |",
        "| 32 |  | 0.6000 |  |",
        "A [Sentence Transformers](https://www.sbert.net) embedding model, finetuned from `demo/tiny`. NDCG@10 on "
        "`held-out` went from 0.1000 to **0.8000** (+0.700).",
        "| pages | CachedMultipleNegativesRankingLoss, Matryoshka 64, 32 | query, positive |",
        f"| base model | hf://demo/tiny | {'b' * 40} |  |",
        f"| pages | hf://demo/pages | {'d' * 40} | 4 |",
        "| Training | 20.2 |",
        "| torch | 2.15.0 |",
        "20 of 20 steps on 2 processes. The configuration, complete:",
        'model = SentenceTransformer("demo/finetuned", truncate_dim=32)',
        "- queries: `Find the page: `",
    ],
)
def test_the_text_holds(run: Run, line: str) -> None:
    assert line in render(run).splitlines()


def test_the_configuration_is_complete_but_for_the_cluster_and_the_secret(run: Run) -> None:
    card = render(run)

    spec = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert spec["training"]["loss"]["matryoshkaDimensions"] == [64, 32]
    assert spec["training"]["learningRate"] == 2e-5
    assert set(spec) == {"model", "data", "training", "evaluation", "checkpoint", "publish"}
    assert "hub-token-of-search" not in card


def test_what_pods_are_like_is_not_told_to_readers(make_run: MakeRun, small_model: Path) -> None:
    proxy = {"all": {"env": [{"name": "HTTPS_PROXY", "value": "http://proxy.internal:3128"}]}}

    card = render(finished_run(make_run, small_model, sections={"podTemplate": proxy}))

    assert "podTemplate" not in card
    assert "proxy.internal" not in card


def test_equal_runs_give_equal_cards(run: Run) -> None:
    assert render(run) == render(run)


def test_a_base_model_from_a_claim_is_named_in_the_text_alone(make_run: MakeRun, small_model: Path) -> None:
    run = finished_run(make_run, small_model)
    spec = run.config.spec.model_copy(
        update={"model": run.config.spec.model.model_copy(update={"source": "pvc://models/tiny"})}
    )

    card = render(Run(config=run.config.model_copy(update={"spec": spec}), settings=run.settings))

    assert not {"base_model", "base_model_relation", "license"} & metadata(card).keys()
    assert "finetuned from a model of a volume claim (`pvc://models/tiny`)" in card


def test_rows_that_were_held_out_are_told_as_a_set_of_the_same_repository(make_run: MakeRun, small_model: Path) -> None:
    train = {"name": "pages", "source": "hf://demo/pages", "columns": {"positive": "image"}, "holdOut": "10%"}
    score = EvaluationScore(name="pages-held-out", metric="ndcg@10", baseline=0.1, final=0.8)
    sections = {"data": {"train": [train]}}
    run = finished_run(make_run, small_model, sections=sections, evaluations=[score])

    index: Any = metadata(render(run))["model-index"]

    assert main_score([score], run.config.spec) == score
    assert index[0]["results"] == [
        {
            "task": {"type": "information-retrieval", "name": "Information Retrieval"},
            "dataset": {"name": "pages-held-out", "type": "demo/pages", "split": "train"},
            "metrics": [{"type": "ndcg@10", "name": "NDCG@10", "value": 0.8}],
        }
    ]


def sure(name: str, metric: str, baseline: float, final: float) -> EvaluationScore:
    """Return a score whose interval is known."""
    interval = {"improvement_low": final - baseline - 0.01, "improvement_high": final - baseline + 0.01}
    return EvaluationScore(name=name, metric=metric, baseline=baseline, final=final, confidence=0.95, **interval)


RERANKER: dict[str, Any] = {
    "model": {"source": "hf://demo/tiny", "kind": "Reranker", "lora": {"rank": 8}},
    "data": {
        "train": [
            {"name": "pages", "source": "hf://demo/pages", "columns": {"document": "page", "query": "q", "label": "y"}},
            {
                "name": "lists",
                "source": "hf://demo/lists",
                "columns": {"documents": "pages", "query": "q", "label": "scores"},
                "loss": {"name": "LambdaLoss"},
            },
        ],
        "evaluation": [
            {
                "name": "ranked",
                "source": "hf://demo/ranked",
                "columns": {"query": "q", "documents": "pages", "label": "scores"},
            },
            {
                "name": "right",
                "source": "pvc://claims/right",
                "evaluator": "BinaryClassification",
                "columns": {"query": "q", "document": "page", "label": "y"},
            },
        ],
    },
    "training": {"loss": {"name": "BinaryCrossEntropyLoss"}, "arguments": {"weight_decay": 0.01}},
}
RERANKER_INPUTS = {
    "train": [
        PreparedTrain(
            name=name, columns=[Column(name="query", modality="text"), Column(name=part, modality="text")], rows=4
        )
        for name, part in (("pages", "document"), ("lists", "documents"))
    ],
    "evaluations": [
        PreparedEvaluation(
            name=name, evaluator=evaluator, query_modality="text", corpus_modality="text", queries=rows, documents=rows
        )
        for name, evaluator, rows in (
            ("ranked", Evaluator.RERANKING, 1300),
            ("right", Evaluator.BINARY_CLASSIFICATION, 50),
        )
    ],
}
RERANKER_SCORES = [
    sure("ranked", "ndcg@10", 0.888, 0.947),
    EvaluationScore(name="ranked", metric="base_ndcg@10", baseline=0.7, final=0.7),
    sure("right", "ap", 0.5, 0.6),
    EvaluationScore(name="right", metric="accuracy", baseline=0.4, final=0.5),
]


@pytest.fixture
def reranker(make_run: MakeRun, small_model: Path) -> Run:
    return finished_run(make_run, small_model, sections=RERANKER, prepared=RERANKER_INPUTS, evaluations=RERANKER_SCORES)


def test_the_metadata_of_a_reranker_lets_the_hub_find_it_as_one(reranker: Run) -> None:
    found = metadata(render(reranker))

    index: Any = found.pop("model-index")
    assert found == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "text-ranking",
        "tags": ["sentence-transformers", "cross-encoder", "reranker", "finetune-operator"],
        "base_model": "demo/tiny",
        "base_model_relation": "finetune",
        "license": "apache-2.0",
        "datasets": ["demo/pages", "demo/lists", "demo/ranked"],
    }
    assert index[0]["results"] == [
        {
            "task": {"type": "reranking", "name": "Reranking"},
            "dataset": {"name": "ranked", "type": "demo/ranked", "split": "test"},
            "metrics": [{"type": "ndcg@10", "name": "NDCG@10", "value": 0.947}],
        },
        {
            "task": {"type": "binary-classification", "name": "Binary Classification"},
            "dataset": {"name": "right", "type": "right", "split": "test"},
            "metrics": [
                {"type": "ap", "name": "AP", "value": 0.6},
                {"type": "accuracy", "name": "Accuracy", "value": 0.5},
            ],
        },
    ]


@pytest.mark.parametrize(
    "line",
    [
        "A [Sentence Transformers](https://www.sbert.net) reranker (CrossEncoder), finetuned from `demo/tiny`. "
        "NDCG@10 on `ranked` went from 0.8880 to **0.9470** (+0.059, 95 % interval 0.049 to 0.069 over 1,300 queries).",
        "| Metric | before | after | difference | 95 % interval |",
        "| NDCG@10, ranked | 0.8880 | 0.9470 | +0.0590 | +0.0490 to +0.0690 |",
        "| NDCG@10 of the candidates as given, ranked | 0.7000 | 0.7000 | +0.0000 |  |",
        "| AP, right | 0.5000 | 0.6000 | +0.1000 | +0.0900 to +0.1100 |",
        'model = CrossEncoder("demo/finetuned")',
        'print(model.predict([("a question", "first text"), ("a question", "second text")]))',
        'print(model.rank("a question", ["first text", "second text"]))',
        "| pages | BinaryCrossEntropyLoss | query, document |",
        "| lists | LambdaLoss | query, documents |",
        "Trained were low-rank adapters (LoRA, rank 8, alpha 32). They are merged into the weights: the model loads "
        "like any other.",
        "    weight_decay: 0.01",
    ],
)
def test_the_text_of_a_reranker_holds(reranker: Run, line: str) -> None:
    assert line in render(reranker).splitlines()


def test_a_reranker_of_classes_is_not_said_to_rank(make_run: MakeRun, small_model: Path) -> None:
    sections = RERANKER | {"training": {"loss": {"name": "CrossEntropyLoss"}}}
    run = finished_run(make_run, small_model, sections=sections, prepared=RERANKER_INPUTS, evaluations=[])

    card = render(run)

    assert "model.predict" in card
    assert "model.rank" not in card
    assert "The model was not evaluated." in card


ROUTER: dict[str, Any] = {
    "model": {
        "router": {
            "by": "Modality",
            "routes": {"text": {"source": "hf://demo/words"}, "image": {"source": "hf://demo/pixels"}},
        }
    },
    "training": {"loss": {"name": "GISTEmbedLoss", "guide": {"source": "hf://demo/guide", "revision": "v2"}}},
}


@pytest.mark.parametrize(("second", "licence"), [("mit", {"license": "mit"}), ("apache-2.0", {})])
def test_a_router_names_all_encoders_and_the_licence_that_they_share(
    make_run: MakeRun, small_model: Path, second: str, licence: dict[str, str]
) -> None:
    found = MODEL.model_copy(update={"revision": f"text {'1' * 12}, image {'2' * 12}"})
    run = finished_run(make_run, small_model, sections=ROUTER, prepared={"model": found})
    for source, name in (("hf://demo/words", "mit"), ("hf://demo/pixels", second)):
        folder = run.workspace.other_model(source, "main")
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"---\nlicense: {name}\n---\n")

    card = render(run)

    told = metadata(card)
    assert {key: told[key] for key in ("base_model", "license") if key in told} == {
        "base_model": ["demo/words", "demo/pixels"]
    } | licence
    assert "router" in told["tags"]  # type: ignore[operator]
    assert "finetuned from `demo/words` and `demo/pixels`. It has encoders of their own for texts and images." in card
    assert f"| encoder of the route text | hf://demo/words | {'1' * 12} |  |" in card
    assert f"| encoder of the route image | hf://demo/pixels | {'2' * 12} |  |" in card
    assert "| guide | hf://demo/guide | v2 |  |" in card


@pytest.mark.parametrize(
    ("card", "found"),
    [
        (b"---\nlicense: mit\n---\n# A model\n", {"license": "mit"}),
        (b"---\r\nlicense: mit\r\n---\r\n# A model\r\n", {"license": "mit"}),
        (b"\xef\xbb\xbf---\nlicense: mit\n---\n", {"license": "mit"}),
        (b"\n---\nlicense: mit\n---\n", {"license": "mit"}),
        (b"# A model\n", {}),
        (b"---\nlicense: mit\n", {}),
        (b"---\nlicense: [\n---\n", {}),
        (b"---\n- mit\n---\n", {}),
        (b"---\nlicense: \xff\n---\n", {}),
        (b"", {}),
    ],
)
def test_what_a_card_says_is_taken_where_it_can_be_read(tmp_path: Path, card: bytes, found: dict[str, str]) -> None:
    (tmp_path / "README.md").write_bytes(card)

    assert read_metadata(tmp_path / "README.md") == found


def test_a_base_model_without_a_card_says_nothing(tmp_path: Path) -> None:
    assert read_metadata(tmp_path / "README.md") == {}
