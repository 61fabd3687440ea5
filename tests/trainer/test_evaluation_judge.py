"""The judge: several sets, one of which decides; what is kept for a restart; what is told at the end."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import run_id
from finetune_api.evaluators import Evaluator
from finetune_api.workspace import Workspace
from finetune_trainer.train.report.tracker import Tracker
from finetune_trainer.workspace.manifest import InputsManifest
from tests.trainer.evaluation_sets import add_pair_set, add_reranking_set, read_held_out
from tests.trainer.rerankers import build_tiny_reranker
from tests.trainer.train_inputs import prepare_pages, run_config

COLUMNS = {"query": "query", "documents": "candidates", "label": "labels"}
PAIRS = {"query": "query", "document": "page", "label": "label"}
SETS = [
    {"name": "held-out", "source": "hf://demo/pages", "columns": {}},
    {"name": "ranked", "source": "hf://demo/pages", "columns": COLUMNS, "evaluator": "Reranking"},
    {"name": "right", "source": "hf://demo/pages", "columns": PAIRS, "evaluator": "BinaryClassification"},
]
PUBLISH = {"repository": "demo/model", "tokenSecret": {"name": "hub-token"}, "gate": {"confidence": 0.9}}


def config_of(sets: list[dict[str, Any]], **sections: Any) -> Any:  # noqa: ANN401 - parts of a manifest
    train = [{"name": "pages", "source": "hf://demo/pages"}]
    return run_config(data={"train": train, "evaluation": sets}, publish=PUBLISH, **sections)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Pages, and three sets of the same content."""
    workspace = prepare_pages(tmp_path_factory.mktemp("judge"), config_of(SETS), rows=4, held_out=12)
    queries, documents = read_held_out(workspace)
    content: Any = {"queries": queries, "documents": documents, "modality": "image"}
    manifest = InputsManifest.read(workspace.manifest)
    evaluations = [
        *manifest.evaluations,
        add_reranking_set(workspace, "ranked", **content),
        add_pair_set(workspace, "right", Evaluator.BINARY_CLASSIFICATION, **content),
    ]
    manifest.model_copy(update={"evaluations": evaluations}).write(workspace.manifest)
    return workspace


@pytest.fixture
def workspace(prepared: Workspace, tmp_path: Path) -> Workspace:
    """The prepared inputs, with nothing measured yet."""
    (tmp_path / "inputs").symlink_to(prepared.inputs)
    return Workspace(tmp_path)


def appoint(workspace: Workspace, config: Any, model: Any) -> Any:  # noqa: ANN401 - torch is imported late
    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.evaluation.judge import appoint_judge
    from finetune_trainer.train.gang.ranks import Ranks
    from finetune_trainer.train.gang.stop import StopRequest
    from finetune_trainer.train.session import Session
    from finetune_trainer.train.weights.replicated import Replicated

    run = run_id(config.spec_hash, {})
    session = Session(config, workspace, 1, Ranks(), Tracker(attempt=1), StopRequest(None), run)
    with session.fence.held():
        pass
    reader = InputReader.of(model, images=workspace.images)
    weights = Replicated([], ranks=session.ranks)
    return appoint_judge(session, InputsManifest.read(workspace.manifest), model, reader, weights)


def load_embedding_model(workspace: Workspace) -> Any:  # noqa: ANN401 - torch is imported late
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(workspace.base_model), device="cpu")


def disturb(model: Any) -> None:  # noqa: ANN401 - torch is imported late
    """Change every weight a little, as training would."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def test_all_sets_are_measured_and_one_decides(workspace: Workspace) -> None:
    config = config_of(SETS, evaluation={"dataset": "ranked", "metric": "mrr@10"})
    model = load_embedding_model(workspace)
    judge = appoint(workspace, config, model)

    judge.measure_baseline()
    disturb(model)
    judge.measure(3)

    tracker = judge.session.tracker
    told = {one.name: list(one.values) for one in tracker.history.latest}
    given_order = ["base_mrr@10", "base_ndcg@10", "base_map@100"]
    assert told == {
        "ranked": ["mrr@10", "ndcg@10", "map@100", *given_order],
        "held-out": ["mrr@10", "ndcg@10", "recall@10"],
        "right": ["ap", "f1", "accuracy"],
    }
    assert [list(one.dimensions) for one in tracker.history.latest] == [[64, 32, 16], [], []]
    assert tracker.metrics.baseline_score == pytest.approx(judge.baseline[0].scores.values["mrr@10"], abs=1e-6)
    assert tracker.metrics.score == pytest.approx(judge.best.judged.values["mrr@10"], abs=1e-6)
    assert tracker.metrics.best_step == 3


def test_further_metrics_are_reported_of_each_set_that_yields_them(workspace: Workspace) -> None:
    evaluation = {"dataset": "held-out", "alsoReport": ["recall@100", "ndcg@3", "mcc"]}
    judge = appoint(workspace, config_of(SETS, evaluation=evaluation), load_embedding_model(workspace))

    judge.measure_baseline()

    told = {one.scores.name: list(one.scores.values) for one in judge.baseline}
    assert told["held-out"] == ["ndcg@10", "mrr@10", "recall@10", "recall@100", "ndcg@3"]
    assert told["right"] == ["ap", "f1", "accuracy", "mcc"]


def test_the_comparison_begins_with_the_deciding_metric_and_says_how_sure_it_is(workspace: Workspace) -> None:
    config = config_of(SETS, evaluation={"dataset": "ranked", "metric": "ndcg@10"})
    model = load_embedding_model(workspace)
    judge = appoint(workspace, config, model)
    judge.measure_baseline()
    disturb(model)
    judge.measure(3)

    compared = judge.compare()

    main, sure = compared[0], [score for score in compared if score.improvement_low is not None]
    assert (main.name, main.metric, main.confidence) == ("ranked", "ndcg@10", 0.9)
    assert main.improvement_low <= main.final - main.baseline <= main.improvement_high
    assert [one.dimension for one in main.dimensions] == [64, 32, 16]
    assert [(score.name, score.metric) for score in sure] == [
        ("ranked", "ndcg@10"),
        ("held-out", "ndcg@10"),
        ("right", "ap"),
    ]
    given = {score.metric: (score.baseline, score.final) for score in compared if score.metric.startswith("base_")}
    assert all(before == after for before, after in given.values())
    assert judge.session.tracker.history.warnings == []


def test_a_restarted_gang_reads_baseline_and_best_and_tells_the_same(workspace: Workspace) -> None:
    config, model = config_of(SETS), load_embedding_model(workspace)
    first = appoint(workspace, config, model)
    first.measure_baseline()
    disturb(model)
    first.measure(3)

    second = appoint(workspace, config, model)
    second.measure_baseline()

    assert second.session.tracker.history.seconds == {}, "nothing was measured"
    assert second.compare() == first.compare()
    assert second.session.tracker.metrics.best_score == first.session.tracker.metrics.best_score


def test_values_per_query_are_kept_where_they_are_needed_and_nowhere_else(workspace: Workspace) -> None:
    judge = appoint(workspace, config_of(SETS), load_embedding_model(workspace))
    judge.measure_baseline()
    judge.measure(3)
    (workspace.train / "history.json").write_bytes(judge.session.tracker.history.content())

    records = [json.loads(path.read_text()) for path in (workspace.baseline, workspace.best_model / "best.json")]
    sizes = [[len(one["sample"]["values"]) for one in record["measurements"]] for record in records]

    assert sizes == [[12, 12, 12]] * 2
    assert "sample" not in (workspace.train / "history.json").read_text()


def test_a_model_that_is_no_better_is_not_kept(workspace: Workspace) -> None:
    model = load_embedding_model(workspace)
    judge = appoint(workspace, config_of(SETS), model)

    for step in (3, 6):
        judge.measure(step)

    assert judge.best.step == 3


def test_a_model_with_adapters_is_measured_as_it_is_published(workspace: Workspace) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    from finetune_api.model import Lora
    from finetune_trainer.recipe.model.adapters import add_adapters

    halved = {"model_kwargs": {"dtype": torch.bfloat16}, "device": "cpu"}
    model = SentenceTransformer(str(workspace.base_model), **halved)
    add_adapters(model, Lora(rank=4))
    disturb(model)
    judge = appoint(workspace, config_of(SETS), model)
    names = [name for name, _ in model.named_parameters()]

    judge.measure(3)

    again = appoint(workspace, config_of(SETS), SentenceTransformer(str(judge.session.best.folder), **halved))
    again.best = None
    again.measure(3)
    measured, published = ([one.sample.values for one in each.best.measurements] for each in (judge, again))
    assert measured == published
    assert [name for name, _ in model.named_parameters()] == names


def test_sets_of_a_few_queries_are_told_to_say_nothing_sure(workspace: Workspace, tmp_path: Path) -> None:
    from finetune_trainer.train.evaluation.measurement import Measurement, Sample, Scores

    judge = appoint(workspace, config_of(SETS), load_embedding_model(workspace))
    scores = Scores(name="held-out", metric="ndcg@10", values={"ndcg@10": 0.5})
    judge.baseline = [Measurement(scores=scores, sample=Sample(values=[0.0, 1.0, 0.5]))]
    judge.evaluations = judge.evaluations[:1]

    compared = judge.compare()

    assert compared[0].improvement_low is None
    assert judge.session.tracker.history.warnings == [
        "held-out: how sure the improvement of ndcg@10 is cannot be told from 3 rows; 10 to 100000 are needed"
    ]


def test_a_reranker_is_judged_and_saved_as_one(prepared: Workspace, workspace: Workspace, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    build_tiny_reranker(tmp_path / "reranker", embedding_model=prepared.base_model)
    loss = {"name": "BinaryCrossEntropyLoss"}
    config = config_of(
        SETS[1:], model={"source": "hf://demo/tiny", "kind": "Reranker"}, training={"loss": loss, "maxSteps": 8}
    )
    manifest = InputsManifest.read(workspace.manifest)
    workspace.inputs.unlink()
    workspace.inputs.mkdir()
    for name in ("images", "data"):
        (workspace.inputs / name).symlink_to(prepared.inputs / name)
    manifest.model_copy(update={"evaluations": manifest.evaluations[1:]}).write(workspace.manifest)
    judge = appoint(workspace, config, CrossEncoder(str(tmp_path / "reranker"), device="cpu"))

    judge.measure_baseline()
    judge.measure(3)

    assert [one.name for one in judge.session.tracker.history.latest] == ["ranked", "right"]
    assert judge.best.judged == judge.baseline[0].scores
    assert CrossEncoder(str(workspace.best_model), device="cpu").num_labels == 1
