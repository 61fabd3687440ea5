"""spec.training.loss: the training objective."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from finetune_api.base import Contract
from finetune_api.fields import Arguments, ShortText, Source, rule, rules
from finetune_api.losses import EMBEDDING_LOSSES, LOSS_ALIASES, RERANKER_LOSSES

MAX_DIMENSIONS = 16
LOSS_NAMES = sorted({*EMBEDDING_LOSSES, *RERANKER_LOSSES, *LOSS_ALIASES})


class Guide(Contract):
    """A second model that a loss asks for its opinion."""

    source: Source
    """hf://OWNER/NAME, pvc://CLAIM/PATH or s3://BUCKET/PATH (gs://, az://)."""
    revision: ShortText = "main"
    """Branch, tag or commit."""


class Loss(Contract):
    """The training objective, by the library's class name."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.guide) == (has(self.name) && self.name.endsWith('GISTEmbedLoss'))",
                "guide goes with GISTEmbedLoss and CachedGISTEmbedLoss, and they need one",
                field=".guide",
            ),
            rule(
                "!has(self.matryoshkaWeights) || size(self.matryoshkaWeights) == 0 || "
                "(has(self.matryoshkaDimensions) && "
                "size(self.matryoshkaWeights) == size(self.matryoshkaDimensions))",
                "matryoshkaWeights needs one weight per entry of matryoshkaDimensions",
                field=".matryoshkaWeights",
            ),
        )
    )

    name: Annotated[str, StringConstraints(max_length=64), Field(json_schema_extra={"enum": LOSS_NAMES})] = (
        "CachedMultipleNegativesRankingLoss"
    )
    """Class of sentence_transformers' losses for embedding models or for rerankers."""
    arguments: Arguments = Field(default_factory=dict)
    """The class's own keyword arguments, for example scale or mini_batch_size. With matryoshkaDimensions also
    n_dims_per_step: so many of them, drawn anew, in each step."""
    guide: Guide | None = None
    """Model that GISTEmbedLoss asks which negatives are false ones."""
    matryoshka_dimensions: Annotated[
        list[Annotated[int, Field(ge=1, le=65_536)]],
        Field(
            max_length=MAX_DIMENSIONS,
            json_schema_extra={
                "x-kubernetes-list-type": "set",
                **rules(
                    rule(
                        "self.map(dimension, -dimension).isSorted()",
                        "matryoshkaDimensions must be descending and unique; "
                        "write the largest first, for example [768, 256, 64]",
                    )
                ),
            },
        ),
    ] = Field(default_factory=list)
    """Embedding sizes that should work when the vector is cut, largest first. Empty: no MatryoshkaLoss."""
    matryoshka_weights: Annotated[list[Annotated[float, Field(ge=0)]], Field(max_length=MAX_DIMENSIONS)] = Field(
        default_factory=list
    )
    """Weight of each dimension's loss; all 1 if absent."""
