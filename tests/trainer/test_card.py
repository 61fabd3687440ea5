"""The model card: what the Hub and people read."""

from pathlib import Path

import pytest
import yaml

from finetune_trainer.card.render import render_card
from finetune_trainer.data.manifest import InputsManifest
from finetune_trainer.report.schema import Report
from tests.trainer.conftest import MakeRun, Run
from tests.trainer.publishing import finished_run


@pytest.fixture
def run(make_run: MakeRun, small_model: Path) -> Run:
    return finished_run(make_run, small_model)


def render(run: Run) -> str:
    workspace = run.workspace
    return render_card(
        run.config,
        Report.read(workspace.report),
        InputsManifest.read(workspace.manifest),
        base_card=workspace.base_model / "README.md",
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
                        {"type": "recall@10", "name": "RECALL@10", "value": 0.9},
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
        "| RECALL@10, held-out | 0.2000 | 0.9000 | +0.7000 |",
        "| 64 | 0.1000 | 0.8000 | +0.7000 |",
        "| 32 |  | 0.6000 |  |",
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
