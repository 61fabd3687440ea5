"""Every training loss that a FinetuneJob can name: for which kind of model, on which columns, with which label.

Names are the library's class names. One line per loss; the trainer keeps the classes and the rules about arguments.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Kind = Literal["Embedding", "Reranker"]
#: How two embeddings are compared.
Similarity = Literal["Cosine", "Dot", "Euclidean", "Manhattan"]


class Layout(StrEnum):
    """What one training row is made of. The names are those of spec.data.train[].columns."""

    RETRIEVAL = "query, positive[, negatives]"
    SCORED = "query, positive, negatives, label"
    LABELED_PAIR = "query, document, label"
    LISTWISE = "query, documents, label"
    LABELED_DOCUMENT = "document, label"
    DOCUMENT = "document"


class Label(StrEnum):
    """What the label column holds."""

    NONE = "no label"
    SCORE = "a number"
    BINARY = "0 or 1"
    CLASS = "a class, whole numbers from 0"
    SCORES = "a list of numbers, one per document"
    MARGINS = "a number, or a list of numbers, one per negative or one per document"
    VECTOR = "a list of numbers, the teacher's embedding"


#: More negatives than any row has columns for.
ANY_NUMBER = 1_000


@dataclass(frozen=True)
class LossRule:
    """What one loss takes."""

    kind: Kind
    layouts: tuple[Layout, ...]
    label: Label = Label.NONE
    negatives: tuple[int, int] = (0, ANY_NUMBER)
    """Fewest and most negatives per row."""
    matryoshka: bool = True
    """Whether MatryoshkaLoss may be put around it."""
    no_layers: str = ""
    """Why a loss that trains each layer cannot be put around it; empty if one can."""
    global_batch: bool = False
    """Whether several processes, with the defaults, compute the gradient that one would of all their rows together."""
    text_only: bool = False
    wraps: bool = False
    """Whether it is put around the loss that its argument `loss` names, whose columns it takes."""


_IN_BATCH = (Layout.RETRIEVAL,)
_PAIR = (Layout.LABELED_PAIR,)
# Rows of query, positive and negatives become pairs with label 1 and 0, or lists with one 1.
_POINTWISE = (Layout.LABELED_PAIR, Layout.RETRIEVAL)
_LISTWISE = (Layout.LISTWISE, Layout.RETRIEVAL)
_ONE = (Layout.LABELED_DOCUMENT,)
_TWICE = "it embeds every row twice"
_GUIDED = "it needs a guide"
# One embedding of the teacher for a text, or for two that mean the same, as a sentence and its translation.
_TAUGHT = (Layout.LABELED_DOCUMENT, Layout.LABELED_PAIR)

EMBEDDING_LOSSES: dict[str, LossRule] = {
    "MultipleNegativesRankingLoss": LossRule("Embedding", _IN_BATCH, global_batch=True),
    "CachedMultipleNegativesRankingLoss": LossRule("Embedding", _IN_BATCH, no_layers=_TWICE, global_batch=True),
    "MultipleNegativesSymmetricRankingLoss": LossRule("Embedding", _IN_BATCH, negatives=(0, 0), global_batch=True),
    "CachedMultipleNegativesSymmetricRankingLoss": LossRule(
        "Embedding", _IN_BATCH, negatives=(0, 0), no_layers=_TWICE, global_batch=True
    ),
    "GISTEmbedLoss": LossRule("Embedding", _IN_BATCH, negatives=(0, 1), no_layers=_GUIDED),
    "CachedGISTEmbedLoss": LossRule("Embedding", _IN_BATCH, no_layers=_TWICE),
    "TripletLoss": LossRule("Embedding", _IN_BATCH, negatives=(1, 1), global_batch=True),
    "MegaBatchMarginLoss": LossRule("Embedding", _IN_BATCH, negatives=(0, 0), no_layers=_TWICE),
    "GlobalOrthogonalRegularizationLoss": LossRule(
        "Embedding", _IN_BATCH, matryoshka=False, no_layers="it gives several numbers"
    ),
    "CosineSimilarityLoss": LossRule("Embedding", _PAIR, Label.SCORE, global_batch=True),
    "CoSENTLoss": LossRule("Embedding", _PAIR, Label.SCORE),
    "AnglELoss": LossRule("Embedding", _POINTWISE, Label.SCORE),
    "ContrastiveLoss": LossRule("Embedding", _POINTWISE, Label.BINARY, global_batch=True),
    "OnlineContrastiveLoss": LossRule("Embedding", _POINTWISE, Label.BINARY),
    "SoftmaxLoss": LossRule("Embedding", _PAIR, Label.CLASS, matryoshka=False, global_batch=True),
    "BatchAllTripletLoss": LossRule("Embedding", _ONE, Label.CLASS),
    "BatchHardTripletLoss": LossRule("Embedding", _ONE, Label.CLASS),
    "BatchSemiHardTripletLoss": LossRule("Embedding", _ONE, Label.CLASS),
    "BatchHardSoftMarginTripletLoss": LossRule("Embedding", _ONE, Label.CLASS),
    "MarginMSELoss": LossRule(
        "Embedding", (Layout.SCORED,), Label.MARGINS, negatives=(1, ANY_NUMBER), global_batch=True
    ),
    "DistillKLDivLoss": LossRule(
        "Embedding", (Layout.SCORED,), Label.SCORES, negatives=(1, ANY_NUMBER), global_batch=True
    ),
    "MSELoss": LossRule("Embedding", _TAUGHT, Label.VECTOR, global_batch=True),
    "EmbedDistillLoss": LossRule("Embedding", _TAUGHT, Label.VECTOR, global_batch=True),
    # Pairs of the same text, which are to be alike, and of different ones, which are not: that is its label.
    "ContrastiveTensionLoss": LossRule("Embedding", _IN_BATCH, negatives=(0, 0), matryoshka=False, text_only=True),
    "ContrastiveTensionLossInBatchNegatives": LossRule("Embedding", (Layout.DOCUMENT,), matryoshka=False),
    # The query is the damaged text, the positive the text that it was made of.
    "DenoisingAutoEncoderLoss": LossRule("Embedding", _IN_BATCH, negatives=(0, 0), matryoshka=False, text_only=True),
    "AdaptiveLayerLoss": LossRule("Embedding", (), matryoshka=False, wraps=True),
    "Matryoshka2dLoss": LossRule("Embedding", (), wraps=True),
}

RERANKER_LOSSES: dict[str, LossRule] = {
    "BinaryCrossEntropyLoss": LossRule("Reranker", _POINTWISE, Label.SCORE, matryoshka=False, global_batch=True),
    "CrossEntropyLoss": LossRule("Reranker", _PAIR, Label.CLASS, matryoshka=False, global_batch=True),
    "MSELoss": LossRule("Reranker", _PAIR, Label.SCORE, matryoshka=False, global_batch=True),
    "MarginMSELoss": LossRule(
        "Reranker", (Layout.SCORED,), Label.MARGINS, negatives=(1, ANY_NUMBER), matryoshka=False, global_batch=True
    ),
    "MultipleNegativesRankingLoss": LossRule("Reranker", _IN_BATCH, matryoshka=False),
    "CachedMultipleNegativesRankingLoss": LossRule("Reranker", _IN_BATCH, matryoshka=False),
    "LambdaLoss": LossRule("Reranker", _LISTWISE, Label.SCORES, matryoshka=False),
    "ListMLELoss": LossRule("Reranker", _LISTWISE, Label.SCORES, matryoshka=False, global_batch=True),
    "PListMLELoss": LossRule("Reranker", _LISTWISE, Label.SCORES, matryoshka=False, global_batch=True),
    "ListNetLoss": LossRule("Reranker", _LISTWISE, Label.SCORES, matryoshka=False, global_batch=True),
    "RankNetLoss": LossRule("Reranker", _LISTWISE, Label.SCORES, matryoshka=False),
    "ADRMSELoss": LossRule("Reranker", _LISTWISE, Label.SCORES, matryoshka=False),
}

#: Losses with an argument `similarity_fct`, and how they compare embeddings without it.
COMPARED_BY: dict[str, Similarity] = {
    "MultipleNegativesRankingLoss": "Cosine",
    "CachedMultipleNegativesRankingLoss": "Cosine",
    "MultipleNegativesSymmetricRankingLoss": "Cosine",
    "CachedMultipleNegativesSymmetricRankingLoss": "Cosine",
    "GlobalOrthogonalRegularizationLoss": "Cosine",
    "CoSENTLoss": "Cosine",
    "ContrastiveTensionLossInBatchNegatives": "Cosine",
    "MarginMSELoss": "Dot",
    "DistillKLDivLoss": "Dot",
}
#: What that argument may be called: of all with all, or of each with the one in its place.
SIMILARITY_FUNCTIONS: dict[str, Similarity] = {
    **dict.fromkeys(("cos_sim", "pairwise_cos_sim"), "Cosine"),
    **dict.fromkeys(("dot_score", "pairwise_dot_score"), "Dot"),
    **dict.fromkeys(("euclidean_sim", "pairwise_euclidean_sim"), "Euclidean"),
    **dict.fromkeys(("manhattan_sim", "pairwise_manhattan_sim"), "Manhattan"),
}

#: Names that are often quoted but never existed, and what is meant.
LOSS_ALIASES = {"CachedCrossEncoderLoss": "CachedMultipleNegativesRankingLoss"}
#: Classes that are no losses of their own here, and what to write instead.
_SPARSE = "leave it out: sparse models are not trained here"
NOT_LOSSES = {
    "BCELoss": "did you mean BinaryCrossEntropyLoss?",
    "BCEWithLogitsLoss": "did you mean BinaryCrossEntropyLoss?",
    "CachedMNRL": "did you mean CachedMultipleNegativesRankingLoss?",
    "CosineEmbeddingLoss": "did you mean CosineSimilarityLoss?",
    "CSRLoss": _SPARSE,
    "FlopsLoss": _SPARSE,
    "InfoNCE": "did you mean MultipleNegativesRankingLoss?",
    "InfoNCELoss": "did you mean MultipleNegativesRankingLoss?",
    "MatryoshkaLoss": "name the loss that it is put around, and give matryoshkaDimensions beside name",
    "MNRL": "did you mean MultipleNegativesRankingLoss?",
    "NTXentLoss": "did you mean MultipleNegativesRankingLoss?",
    "SpladeLoss": _SPARSE,
}


def losses_of(kind: Kind) -> dict[str, LossRule]:
    """Return the losses of one kind of model by name."""
    return EMBEDDING_LOSSES if kind == "Embedding" else RERANKER_LOSSES


def loss_rule(name: str, kind: Kind) -> LossRule | None:
    """Return what the loss `name` takes when a model of `kind` is trained, None if that kind has no such loss."""
    return losses_of(kind).get(LOSS_ALIASES.get(name, name) if kind == "Reranker" else name)
