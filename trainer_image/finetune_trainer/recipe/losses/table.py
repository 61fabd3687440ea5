"""Every loss that a job can name: its class, and what is not plain about its arguments. One line per loss.

Which rows and labels it takes says `finetune_api.losses`. An argument that is not mentioned here is read as the class
declares it.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_type_hints

from sentence_transformers.cross_encoder import losses as reranker
from sentence_transformers.sentence_transformer import losses as embedding
from torch import nn

from finetune_api.losses import LOSS_ALIASES, Kind
from finetune_trainer.recipe.arguments.signatures import Argument, stated_default
from finetune_trainer.recipe.losses import values
from finetune_trainer.recipe.losses.decoder import TiedDecoderLoss
from finetune_trainer.recipe.losses.stated import MATRYOSHKA
from finetune_trainer.recipe.losses.values import Read, typed

#: Arguments that the trainer sets, or that another field of the spec says.
_OURS = frozenset(
    {
        "model",
        "loss",
        "guide",
        "matryoshka_dims",
        "matryoshka_weights",
        "embedding_dimension",
        "show_progress_bar",
    }
)
#: How arguments are read, wherever they occur.
_READ: Mapping[str, Read] = {
    "activation_fn": values.activation,
    "cos_score_transformation": values.activation,
    "lambda_weight": values.lambda_weight,
    "layer_weighting": values.layer_weighting,
    "mini_batch_num_tokens": values.count_or_null,
    "num_labels": values.count,
    "pos_weight": values.tensor,
    "projection_dim": values.count_or_null,
    "scale": values.number,
    "weighting_scheme": values.weighting_scheme,
}


@dataclass(frozen=True)
class LossEntry:
    """How one loss is built."""

    cls: type[nn.Module]
    read: Mapping[str, Read] = field(default_factory=dict)
    """How its own arguments are read; also those that the class passes on without declaring them."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that make the loss what its name says; they cannot be set."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Where the library's default would not do."""

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Return what the constructor declares."""
        return inspect.signature(self.cls).parameters

    @cached_property
    def cached(self) -> bool:
        """Whether it embeds in mini-batches of any size, with the gradient of the whole batch."""
        return bool(getattr(self.cls, "uses_gradient_cache", False))

    @cached_property
    def wraps(self) -> bool:
        """Whether it is put around another loss."""
        return "loss" in self.parameters

    @cached_property
    def signature(self) -> dict[str, Argument]:
        """Return what a job can set, as plain data; what the class passes on without declaring it may be left out."""
        return {
            name: Argument(takes=dict(read.schema), default=self._default(name))
            for name, read in self.arguments.items()
        }

    def _default(self, name: str) -> str | None:
        declared = self.parameters.get(name)
        return "own" if declared is None else stated_default(declared.default)

    @cached_property
    def arguments(self) -> Mapping[str, Read]:
        """Return what a job can set, and how it is read."""
        declared = {name for name, one in self.parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD}
        hints = get_type_hints(self.cls.__init__)
        known = {**_READ, **({"mini_batch_size": values.mini_batch_size} if self.cached else {}), **self.read}
        names = (declared | self.read.keys()) - _OURS - self.fixed.keys()
        return {name: known[name] if name in known else typed(hints.get(name, Any)) for name in sorted(names)}


# The names below are older than the directions; the library warns of them.
_SYMMETRIC = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
_SIMILARITY = {"similarity_fct": values.similarity}
_PAIRWISE = {"similarity_fct": values.pairwise_similarity}
_SIAMESE = {"distance_metric": values.siamese_distance}
_BATCH = {"distance_metric": values.batch_distance}
_REDUCTION = {"reduction": values.reduction}
# Documents come with labels, which the library would leave aside for the order in which they are given.
_BY_LABEL = {"respect_input_order": False}
_CLASSES = _REDUCTION | {"weight": values.tensor, "label_smoothing": typed(float), "ignore_index": typed(int)}

EMBEDDING: Mapping[str, LossEntry] = {
    "MultipleNegativesRankingLoss": LossEntry(embedding.MultipleNegativesRankingLoss, _SIMILARITY),
    "CachedMultipleNegativesRankingLoss": LossEntry(embedding.CachedMultipleNegativesRankingLoss, _SIMILARITY),
    "MultipleNegativesSymmetricRankingLoss": LossEntry(
        embedding.MultipleNegativesRankingLoss, _SIMILARITY, fixed=_SYMMETRIC
    ),
    "CachedMultipleNegativesSymmetricRankingLoss": LossEntry(
        embedding.CachedMultipleNegativesRankingLoss, _SIMILARITY, fixed=_SYMMETRIC
    ),
    # They gather no queries: unless contrast_anchors is false, a rank compares its queries with fewer than one would.
    "GISTEmbedLoss": LossEntry(embedding.GISTEmbedLoss),
    "CachedGISTEmbedLoss": LossEntry(embedding.CachedGISTEmbedLoss),
    "TripletLoss": LossEntry(embedding.TripletLoss, {"distance_metric": values.triplet_distance}),
    "MegaBatchMarginLoss": LossEntry(embedding.MegaBatchMarginLoss),
    "GlobalOrthogonalRegularizationLoss": LossEntry(embedding.GlobalOrthogonalRegularizationLoss, _SIMILARITY),
    "CosineSimilarityLoss": LossEntry(embedding.CosineSimilarityLoss, {"loss_fct": values.regression_loss}),
    "CoSENTLoss": LossEntry(embedding.CoSENTLoss, _PAIRWISE),
    "AnglELoss": LossEntry(embedding.AnglELoss),
    "ContrastiveLoss": LossEntry(embedding.ContrastiveLoss, _SIAMESE),
    "OnlineContrastiveLoss": LossEntry(embedding.OnlineContrastiveLoss, _SIAMESE),
    "SoftmaxLoss": LossEntry(embedding.SoftmaxLoss, {"loss_fct": values.class_loss}),
    "BatchAllTripletLoss": LossEntry(embedding.BatchAllTripletLoss, _BATCH),
    "BatchHardTripletLoss": LossEntry(embedding.BatchHardTripletLoss, _BATCH),
    "BatchSemiHardTripletLoss": LossEntry(embedding.BatchSemiHardTripletLoss, _BATCH),
    "BatchHardSoftMarginTripletLoss": LossEntry(embedding.BatchHardSoftMarginTripletLoss, _BATCH),
    "MarginMSELoss": LossEntry(embedding.MarginMSELoss, _PAIRWISE),
    "DistillKLDivLoss": LossEntry(embedding.DistillKLDivLoss, _PAIRWISE),
    "MSELoss": LossEntry(embedding.MSELoss),
    "EmbedDistillLoss": LossEntry(embedding.EmbedDistillLoss),
    "ContrastiveTensionLoss": LossEntry(embedding.ContrastiveTensionLoss),
    "ContrastiveTensionLossInBatchNegatives": LossEntry(embedding.ContrastiveTensionLossInBatchNegatives, _SIMILARITY),
    "DenoisingAutoEncoderLoss": LossEntry(TiedDecoderLoss),
    "AdaptiveLayerLoss": LossEntry(embedding.AdaptiveLayerLoss),
    "Matryoshka2dLoss": LossEntry(embedding.Matryoshka2dLoss),
}

RERANKER: Mapping[str, LossEntry] = {
    "BinaryCrossEntropyLoss": LossEntry(reranker.BinaryCrossEntropyLoss, _REDUCTION),
    "CrossEntropyLoss": LossEntry(reranker.CrossEntropyLoss, _CLASSES),
    "MSELoss": LossEntry(reranker.MSELoss, _REDUCTION),
    "MarginMSELoss": LossEntry(reranker.MarginMSELoss, _REDUCTION),
    "MultipleNegativesRankingLoss": LossEntry(reranker.MultipleNegativesRankingLoss),
    "CachedMultipleNegativesRankingLoss": LossEntry(reranker.CachedMultipleNegativesRankingLoss),
    "LambdaLoss": LossEntry(reranker.LambdaLoss),
    "ListMLELoss": LossEntry(reranker.ListMLELoss, defaults=_BY_LABEL),
    "PListMLELoss": LossEntry(reranker.PListMLELoss, defaults=_BY_LABEL),
    "ListNetLoss": LossEntry(reranker.ListNetLoss),
    "RankNetLoss": LossEntry(reranker.RankNetLoss),
    "ADRMSELoss": LossEntry(reranker.ADRMSELoss),
}


#: What a job asks for by dimensions instead of by name.
AROUND: Mapping[str, LossEntry] = {MATRYOSHKA: LossEntry(embedding.MatryoshkaLoss)}


def entries(kind: Kind) -> Mapping[str, LossEntry]:
    """Return every loss that trains models of `kind`, by the library's name."""
    return {**EMBEDDING, **AROUND} if kind == "Embedding" else RERANKER


def loss_entry(name: str, kind: Kind) -> LossEntry:
    """Return how the loss `name` is built for models of `kind`; raises KeyError if there is none."""
    return entries(kind)[name if kind == "Embedding" else LOSS_ALIASES.get(name, name)]
