"""Loss, columns, evaluator, metric and kind of model: what fits, and what is said of what does not."""

import copy
from typing import Any

import pytest

from finetune_api.evaluators import Evaluator
from finetune_api.losses import EMBEDDING_LOSSES, LOSS_ALIASES, RERANKER_LOSSES
from finetune_api.objective import LOSS_NAMES
from finetune_api.sense import check_sense, evaluation_sets, judging_set, notes
from finetune_api.types import FinetuneJobSpec, named_datasets, named_models

INNER_LOSSES = [name for name, rule in EMBEDDING_LOSSES.items() if not rule.wraps]
PAIR = {"query": "q", "document": "d", "label": "l"}
LIST = {"query": "q", "documents": "d", "label": "l"}
EVALUATION = {"name": "held-out", "source": "hf://acme/held-out", "columns": {}}


def spec(
    *,
    kind: str = "Embedding",
    columns: dict[str, Any] | None = None,
    loss: dict[str, Any] | None = None,
    **more: Any,  # noqa: ANN401 - sections of a spec as YAML has them
) -> FinetuneJobSpec:
    data: dict[str, Any] = {"train": [{"name": "rows", "source": "hf://acme/rows", "columns": columns or {}}]}
    data["train"][0] |= more.pop("train", {})
    data["evaluation"] = more.pop("evaluation_sets", [])
    training = {"loss": loss or {}, "learningRates": more.pop("rates", {})}
    model = {"kind": kind, "source": "hf://acme/base"} | more.pop("model", {})
    return FinetuneJobSpec.model_validate({"model": model, "data": data, "training": training, **more})


FITS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "negatives with in-batch negatives": {"columns": {"negatives": ["a", "b"]}},
    "one negative with triplets": {"columns": {"negatives": ["a"]}, "loss": {"name": "TripletLoss"}},
    "mined negatives with triplets": {"train": {"mineNegatives": {"numNegatives": 1}}, "loss": {"name": "TripletLoss"}},
    "scores of pairs": {"columns": PAIR, "loss": {"name": "CoSENTLoss"}},
    "classes of documents": {"columns": {"document": "d", "label": "l"}, "loss": {"name": "BatchHardTripletLoss"}},
    "a wrapped loss": {"loss": {"name": "AdaptiveLayerLoss", "arguments": {"loss": "MultipleNegativesRankingLoss"}}},
    "a reranker with in-batch negatives": {"kind": "Reranker"},
    "a reranker's pairs": {"kind": "Reranker", "columns": PAIR, "loss": {"name": "BinaryCrossEntropyLoss"}},
    "a pointwise loss with negatives": {
        "kind": "Reranker",
        "columns": {"negatives": ["n"]},
        "loss": {"name": "BinaryCrossEntropyLoss"},
    },
    "a reranker's lists": {"kind": "Reranker", "columns": LIST, "loss": {"name": "LambdaLoss"}},
    "a reranker's quoted name": {"kind": "Reranker", "loss": {"name": "CachedCrossEncoderLoss"}},
    "triplets that are measured": {
        "evaluation_sets": [EVALUATION | {"evaluator": "Triplet", "columns": {"negatives": ["n"]}}],
        "evaluation": {"metric": "accuracy"},
    },
    "similarities that are measured": {
        "evaluation_sets": [EVALUATION | {"evaluator": "EmbeddingSimilarity", "columns": PAIR}],
        "evaluation": {"metric": "spearman"},
    },
    "candidates that a reranker orders": {"kind": "Reranker", "evaluation_sets": [EVALUATION | {"columns": LIST}]},
    "the metric of a named set": {
        "evaluation_sets": [
            EVALUATION,
            EVALUATION | {"name": "pairs", "evaluator": "BinaryClassification", "columns": PAIR},
        ],
        "evaluation": {"metric": "ap", "dataset": "pairs"},
    },
}

FITS_NOT: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a loss of the other kind": (
        {"kind": "Reranker", "loss": {"name": "TripletLoss"}},
        [
            "spec.training.loss.name: 'TripletLoss' is wrong because it trains models of kind Embedding, and this one "
            f"is of kind Reranker; choose one of {', '.join(RERANKER_LOSSES)}"
        ],
    ),
    "columns that the loss does not take": (
        {"columns": PAIR},
        [
            "spec.data.train[0].columns: 'query, document, label' is wrong because CachedMultipleNegativesRankingLoss "
            "takes query, positive[, negatives]; change the columns or choose a loss that takes them, as "
            "CosineSimilarityLoss or CoSENTLoss or AnglELoss"
        ],
    ),
    "labels for a loss of rerankers that takes none": (
        {"kind": "Reranker", "columns": PAIR, "loss": {"name": "CachedCrossEncoderLoss"}},
        [
            "spec.data.train[0].columns: 'query, document, label' is wrong because CachedCrossEncoderLoss takes query, "
            "positive[, negatives]; change the columns or choose a loss that takes them, as BinaryCrossEntropyLoss or "
            "CrossEntropyLoss or MSELoss"
        ],
    ),
    "a loss around others": (
        {"loss": {"name": "AdaptiveLayerLoss", "arguments": {"loss": "MatryoshkaLoss"}}},
        [
            "spec.training.loss.arguments.loss: 'MatryoshkaLoss' is wrong because AdaptiveLayerLoss is put around a "
            "loss that takes rows; name the loss that it is put around, and give matryoshkaDimensions beside name"
        ],
    ),
    "triplets without negatives": (
        {"loss": {"name": "TripletLoss"}},
        [
            "spec.data.train[0].columns.negatives: [] is wrong because TripletLoss takes exactly 1 negative per row; "
            "name as many columns"
        ],
    ),
    "labels that are not named": (
        {"columns": {"query": "q", "document": "d"}, "loss": {"name": "CoSENTLoss"}},
        ["spec.data.train[0].columns.label: None is wrong because CoSENTLoss needs a label, a number; name its column"],
    ),
    "answers that a pointwise loss has nothing to compare with": (
        {"kind": "Reranker", "loss": {"name": "BinaryCrossEntropyLoss"}},
        [
            "spec.data.train[0].columns.negatives: [] is wrong because BinaryCrossEntropyLoss compares answers with "
            "documents that are none; name columns of negatives, set mineNegatives, or give labels"
        ],
    ),
    "answers that a listwise loss has nothing to compare with": (
        {"kind": "Reranker", "loss": {"name": "LambdaLoss"}},
        [
            "spec.data.train[0].columns.negatives: [] is wrong because LambdaLoss compares answers with documents that "
            "are none; name columns of negatives, set mineNegatives, or give labels"
        ],
    ),
    "a range that leaves too few documents to mine": (
        {"train": {"mineNegatives": {"numNegatives": 3, "rangeMin": 2, "rangeMax": 4}}},
        [
            "spec.data.train[0].mineNegatives.rangeMax: 4 is wrong because it leaves less than 3 documents after "
            "rangeMin 2; raise it"
        ],
    ),
    "a label of an answer": (
        {"evaluation_sets": [EVALUATION | {"columns": {"positive": "good", "label": "score"}}]},
        [
            "spec.data.evaluation[0].columns.label: 'score' is wrong because what is in good is an answer whatever its "
            "label; leave label out, or name document or documents instead of positive"
        ],
    ),
    "Matryoshka around a reranker": (
        {"kind": "Reranker", "loss": {"matryoshkaDimensions": [8]}},
        [
            "spec.training.loss.matryoshkaDimensions: [8] is wrong because MatryoshkaLoss cannot be put around "
            "CachedMultipleNegativesRankingLoss; leave matryoshkaDimensions out or choose another loss"
        ],
    ),
    "a wrapper around nothing": (
        {"loss": {"name": "AdaptiveLayerLoss", "arguments": {"loss": "TripleLoss"}}},
        [
            "spec.training.loss.arguments.loss: 'TripleLoss' is wrong because AdaptiveLayerLoss is put around a "
            "loss that takes rows; did you mean TripletLoss?"
        ],
    ),
    "a wrapper that cuts without dimensions": (
        {"loss": {"name": "Matryoshka2dLoss", "arguments": {"loss": "CoSENTLoss"}}, "columns": PAIR},
        [
            "spec.training.loss.matryoshkaDimensions: [] is wrong because Matryoshka2dLoss needs dimensions; "
            "give them, largest first"
        ],
    ),
    "a wrapper with dimensions that it cannot cut to": (
        {
            "loss": {
                "name": "AdaptiveLayerLoss",
                "arguments": {"loss": "MultipleNegativesRankingLoss"},
                "matryoshkaDimensions": [32],
            }
        },
        [
            "spec.training.loss.name: 'AdaptiveLayerLoss' is wrong because AdaptiveLayerLoss takes no dimensions; "
            "choose Matryoshka2dLoss or leave matryoshkaDimensions out"
        ],
    ),
    "a wrapper around a wrapper": (
        {"loss": {"name": "Matryoshka2dLoss", "arguments": {"loss": "AdaptiveLayerLoss"}}},
        [
            "spec.training.loss.arguments.loss: 'AdaptiveLayerLoss' is wrong because Matryoshka2dLoss is put around a "
            f"loss that takes rows; choose one of {', '.join(INNER_LOSSES)}"
        ],
    ),
    "a reranker that looks for negatives": (
        {"kind": "Reranker", "train": {"mineNegatives": {}}},
        [
            "spec.data.train[0].mineNegatives.source: None is wrong because a reranker cannot look for documents; "
            "name an embedding model that looks for negatives"
        ],
    ),
    "an evaluator of the other kind, a missing column and a metric it has not": (
        {
            "kind": "Reranker",
            "evaluation_sets": [
                EVALUATION | {"evaluator": "Triplet"},
                EVALUATION | {"name": "other", "evaluator": "Reranking"},
            ],
            "evaluation": {"metric": "recall@10", "dataset": "other"},
        },
        [
            "spec.data.evaluation[0].evaluator: 'Triplet' is wrong because a model of kind Reranker cannot be measured "
            "by it; choose one of Reranking, EmbeddingSimilarity, BinaryClassification",
            "spec.data.evaluation[1].columns: 'positive, query' is wrong because Reranking needs query, positive, "
            "negatives or query, documents, label; name these columns",
            "spec.evaluation.metric: 'recall@10' is wrong because Reranking, which measures other, yields ndcg@k, "
            "mrr@k, map@k; choose one of these",
        ],
    ),
    "several labels that are measured": (
        {
            "kind": "Reranker",
            "model": {"numLabels": 3},
            "columns": PAIR,
            "loss": {"name": "CrossEntropyLoss"},
            "evaluation_sets": [EVALUATION | {"columns": LIST}],
        },
        [
            "spec.model.numLabels: 3 is wrong because documents are ordered by one score, and this model gives "
            "several; leave data.evaluation and holdOut out or set numLabels to 1"
        ],
    ),
    "further metrics that no set yields": (
        {"evaluation_sets": [EVALUATION], "evaluation": {"alsoReport": ["recall@100", "spearman"]}},
        [
            "spec.evaluation.alsoReport[1]: 'spearman' is wrong because no evaluation set yields it: "
            "InformationRetrieval yields ndcg@k, mrr@k, recall@k, map@k, precision@k, accuracy@k; choose among these"
        ],
    ),
    "further metrics without a set": (
        {"evaluation": {"alsoReport": ["recall@100"]}},
        [
            "spec.evaluation.alsoReport[0]: 'recall@100' is wrong because there is no evaluation set; "
            "add data.evaluation, or holdOut to a training set, or leave it out"
        ],
    ),
    "a wrapper around a loss with a guide": (
        {
            "loss": {
                "name": "AdaptiveLayerLoss",
                "arguments": {"loss": "GISTEmbedLoss"},
                "guide": {"source": "hf://acme/guide"},
            }
        },
        [
            "spec.training.loss.arguments.loss: 'GISTEmbedLoss' is wrong because AdaptiveLayerLoss cannot be put "
            "around it: it needs a guide; name a plain loss, for example MultipleNegativesRankingLoss"
        ],
    ),
    "a wrapper around a cached loss": (
        {
            "loss": {
                "name": "Matryoshka2dLoss",
                "arguments": {"loss": "CachedMultipleNegativesRankingLoss"},
                "matryoshkaDimensions": [64, 32],
            }
        },
        [
            "spec.training.loss.arguments.loss: 'CachedMultipleNegativesRankingLoss' is wrong because Matryoshka2dLoss "
            "cannot be put around it: it embeds every row twice; name a plain loss, for example "
            "MultipleNegativesRankingLoss"
        ],
    ),
    "several scores for a loss that takes one": (
        {
            "kind": "Reranker",
            "model": {"numLabels": 3},
            "columns": PAIR,
            "loss": {"name": "BinaryCrossEntropyLoss"},
        },
        [
            "spec.model.numLabels: 3 is wrong because BinaryCrossEntropyLoss, which trains on spec.data.train[0], "
            "takes one score; set it to 1, or choose CrossEntropyLoss"
        ],
    ),
    "one score for classes": (
        {"kind": "Reranker", "model": {"numLabels": 1}, "columns": PAIR, "loss": {"name": "CrossEntropyLoss"}},
        [
            "spec.model.numLabels: 1 is wrong because CrossEntropyLoss, which trains on spec.data.train[0], takes a "
            "score for each class; set it to their number, or choose BinaryCrossEntropyLoss"
        ],
    ),
    "a pattern of parameters that is none": (
        {"rates": {"[": 1e-5, "encoder": 1e-5}},
        [
            "spec.training.learningRates: '[' is wrong because it is no regular expression (unterminated character set "
            "at position 0); write it as Python's re does"
        ],
    ),
    "a prompt of documents for a reranker": (
        {"kind": "Reranker", "model": {"prompts": {"document": "page: "}}},
        [
            "spec.model.prompts.document: 'page: ' is wrong because a reranker has one instruction for the pair; "
            "use prompts.query"
        ],
    ),
    "a judging set where there is none": (
        {"evaluation": {"dataset": "other"}},
        [
            "spec.evaluation.dataset: 'other' is wrong because there is no evaluation set; "
            "add data.evaluation, or holdOut to a training set, or leave it out"
        ],
    ),
    "a set that is not there": (
        {"evaluation_sets": [EVALUATION], "evaluation": {"dataset": "other"}},
        ["spec.evaluation.dataset: 'other' is wrong because no evaluation set has this name; name one of held-out"],
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_it_fits(case: str) -> None:
    assert check_sense(spec(**FITS[case])) == []


@pytest.mark.parametrize("case", FITS_NOT)
def test_it_does_not_fit_and_everything_is_told(case: str) -> None:
    changes, problems = FITS_NOT[case]

    assert [str(problem) for problem in check_sense(spec(**changes))] == problems


def test_a_name_that_never_existed_is_taken_for_what_is_meant_with_a_note() -> None:
    assert notes(spec(kind="Reranker", loss={"name": "CachedCrossEncoderLoss"})) == [
        "spec.training.loss.name: the library has no CachedCrossEncoderLoss; CachedMultipleNegativesRankingLoss is used"
    ]
    assert notes(spec()) == []


def test_a_loss_that_compares_embeddings_otherwise_than_the_model_is_told() -> None:
    distilled: dict[str, Any] = {
        "columns": {"negatives": ["n"], "label": "scores"},
        "loss": {"name": "DistillKLDivLoss"},
    }
    stated = {"loss": {"name": "DistillKLDivLoss", "arguments": {"similarity_fct": "cos_sim"}}}
    note = (
        "spec.training.loss: DistillKLDivLoss compares embeddings by Dot, and the model by Cosine, which is not the "
        "same unless they are normalized; set spec.model.similarity to Dot, or similarity_fct among the loss's "
        "arguments"
    )

    assert notes(spec(**distilled), similarity="Cosine") == [note]
    assert notes(spec(**distilled, model={"similarity": "Cosine"})) == [note]
    assert notes(spec(**distilled, model={"similarity": "Dot"})) == []
    assert notes(spec(**(distilled | stated)), similarity="Cosine") == []


def test_the_schema_names_every_loss_of_the_tables() -> None:
    assert sorted({*EMBEDDING_LOSSES, *RERANKER_LOSSES, *LOSS_ALIASES}) == LOSS_NAMES


def test_the_first_evaluation_set_judges_unless_another_is_named() -> None:
    sets = [EVALUATION, EVALUATION | {"name": "second"}]

    assert judging_set(spec(evaluation_sets=sets)) == spec(evaluation_sets=sets).data.evaluation[0]
    second = spec(evaluation_sets=sets, evaluation={"dataset": "second"})
    assert judging_set(second) == second.data.evaluation[1]
    assert judging_set(spec()) is None


def test_every_model_and_dataset_that_is_named_is_found_with_its_path() -> None:
    guided = {"name": "GISTEmbedLoss", "guide": {"source": "hf://acme/guide", "revision": "v1"}}
    route = {"source": "pvc://models/vit"}
    job = spec(
        model={"source": None, "router": {"routes": {"text": {"source": "hf://acme/text"}, "image": route}}},
        loss=guided,
        train={"mineNegatives": {"source": "hf://acme/miner"}},
        evaluation_sets=[EVALUATION],
    )

    assert [(one.path, one.source, one.revision) for one in named_models(job)] == [
        ("spec.model.router.routes.text", "hf://acme/text", "main"),
        ("spec.model.router.routes.image", "pvc://models/vit", "main"),
        ("spec.training.loss.guide", "hf://acme/guide", "v1"),
        ("spec.data.train[0].mineNegatives", "hf://acme/miner", "main"),
    ]
    assert [(one.path, one.source) for one in named_datasets(job)] == [
        ("spec.data.train[0]", "hf://acme/rows"),
        ("spec.data.evaluation[0]", "hf://acme/held-out"),
    ]


def held_out(**changes: Any) -> dict[str, tuple[Evaluator | None, set[str] | None]]:  # noqa: ANN401 - as `spec`
    """Return evaluator and columns of the evaluation sets of a spec whose training set holds rows out."""
    train = {"holdOut": "5%", **changes.pop("train", {})}
    sets = evaluation_sets(spec(**changes, train=train))
    return {path: (one.evaluator, one.columns.given if one.columns else None) for path, one in sets.items()}


HELD_OUT = "spec.data.train[0].holdOut"
MEASURED: dict[str, tuple[dict[str, Any], Evaluator, set[str]]] = {
    "answers": ({}, Evaluator.INFORMATION_RETRIEVAL, {"query", "positive"}),
    "answers and hard negatives": (
        {"columns": {"negatives": ["n"]}},
        Evaluator.INFORMATION_RETRIEVAL,
        {"query", "positive", "negatives"},
    ),
    "triplets, where the metric is theirs": (
        {"columns": {"negatives": ["n"]}, "loss": {"name": "TripletLoss"}, "evaluation": {"metric": "accuracy"}},
        Evaluator.TRIPLET,
        {"query", "positive", "negatives"},
    ),
    "answers with a teacher's scores": (
        {"columns": {"negatives": ["n"], "label": "s"}, "loss": {"name": "MarginMSELoss"}},
        Evaluator.INFORMATION_RETRIEVAL,
        {"query", "positive", "negatives"},
    ),
    "similarities": (
        {"columns": PAIR, "loss": {"name": "CoSENTLoss"}, "evaluation": {"metric": "spearman"}},
        Evaluator.EMBEDDING_SIMILARITY,
        {"query", "document", "label"},
    ),
    "pairs of one class or the other": (
        {"columns": PAIR, "loss": {"name": "ContrastiveLoss"}, "evaluation": {"metric": "ap"}},
        Evaluator.BINARY_CLASSIFICATION,
        {"query", "document", "label"},
    ),
    "a reranker's pairs, where the metric says that they are of one class or the other": (
        {
            "kind": "Reranker",
            "columns": PAIR,
            "loss": {"name": "BinaryCrossEntropyLoss"},
            "evaluation": {"metric": "f1"},
        },
        Evaluator.BINARY_CLASSIFICATION,
        {"query", "document", "label"},
    ),
    "a reranker's lists": (
        {"kind": "Reranker", "columns": LIST, "loss": {"name": "LambdaLoss"}},
        Evaluator.RERANKING,
        {"query", "documents", "label"},
    ),
    "a reranker's answers and hard negatives": (
        {"kind": "Reranker", "columns": {"negatives": ["n"]}, "loss": {"name": "BinaryCrossEntropyLoss"}},
        Evaluator.RERANKING,
        {"query", "positive", "negatives"},
    ),
}


@pytest.mark.parametrize("case", MEASURED)
def test_what_is_held_out_is_measured_as_its_rows_and_the_metric_say(case: str) -> None:
    changes, evaluator, columns = MEASURED[case]

    assert held_out(**copy.deepcopy(changes)) == {HELD_OUT: (evaluator, columns)}
    assert check_sense(spec(**changes, train={"holdOut": "5%"})) == []


INSTEAD = "name a set in data.evaluation instead"
NOTHING_TO_RANK = (
    "a reranker is measured by ranking, and the rows name no documents that are no answers; name columns.negatives "
    f"(mineNegatives looks for training alone), or {INSTEAD}"
)
UNMEASURED: dict[str, tuple[dict[str, Any], str]] = {
    "classes of documents": (
        {"columns": {"document": "d", "label": "l"}, "loss": {"name": "BatchHardTripletLoss"}},
        f"no evaluator measures rows of document, label (a class, whole numbers from 0); {INSTEAD}",
    ),
    "single documents": (
        {"columns": {"document": "d"}, "loss": {"name": "ContrastiveTensionLossInBatchNegatives"}},
        f"no evaluator measures rows of document; {INSTEAD}",
    ),
    "classes of pairs": (
        {"columns": PAIR, "loss": {"name": "SoftmaxLoss"}},
        f"no evaluator measures rows of query, document, label (a class, whole numbers from 0); {INSTEAD}",
    ),
    "embeddings of a teacher": (
        {"columns": PAIR, "loss": {"name": "MSELoss"}},
        f"no evaluator measures rows of query, document, label (a list of numbers, the teacher's embedding); {INSTEAD}",
    ),
    "a reranker's answers alone": ({"kind": "Reranker"}, NOTHING_TO_RANK),
    "a reranker's answers with negatives that are mined": (
        {"kind": "Reranker", "train": {"mineNegatives": {"source": "hf://acme/miner"}}},
        NOTHING_TO_RANK,
    ),
}


@pytest.mark.parametrize("case", UNMEASURED)
def test_rows_that_nothing_can_be_measured_on_are_not_held_out(case: str) -> None:
    changes, because = UNMEASURED[case]
    train = {"holdOut": "5%", **changes.get("train", {})}

    assert [str(problem) for problem in check_sense(spec(**(changes | {"train": train})))] == [
        f"{HELD_OUT}: '5%' is wrong because {because}"
    ]


def test_what_is_held_out_judges_unless_another_set_is_named() -> None:
    own: dict[str, Any] = {"train": {"holdOut": 100}}

    judges = [
        judging_set(spec(**own)),
        judging_set(spec(**own, evaluation_sets=[EVALUATION])),
        judging_set(spec(**own, evaluation_sets=[EVALUATION], evaluation={"dataset": "rows-held-out"})),
    ]

    assert [judge and judge.name for judge in judges] == ["rows-held-out", "held-out", "rows-held-out"]


def test_a_metric_that_what_is_held_out_does_not_yield_is_told() -> None:
    pairs: dict[str, Any] = {"columns": PAIR, "loss": {"name": "CoSENTLoss"}, "train": {"holdOut": 100}}

    assert [str(problem) for problem in check_sense(spec(**pairs))] == [
        "spec.evaluation.metric: 'ndcg@10' is wrong because EmbeddingSimilarity, which measures rows-held-out, yields "
        "spearman, pearson; choose one of these"
    ]
