"""The models that look for negatives: the base model, or embedding models of their own. Imports torch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from finetune_api.datasets import MinedNegatives, TrainDataset
from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.types import FinetuneJobSpec
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.tokens import check_tokens
from finetune_trainer.prepare.fetch.locating import Located
from finetune_trainer.prepare.mining.embedding_cache import EmbeddingCache, Floats, Role
from finetune_trainer.prepare.mining.mining import Miner
from finetune_trainer.prepare.tracker import Tracker
from finetune_trainer.recipe.model.encoders import load_encoder
from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.recipe.model.load import load_model, modality_names
from finetune_trainer.recipe.model.part import Part
from finetune_trainer.recipe.model.precision import META, precision_arguments
from finetune_trainer.recipe.model.refusal import adapter_without_weights
from finetune_trainer.workspace.manifest import Column, Modality
from finetune_trainer.workspace.problems import InputProblem

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Miners:
    """Finds the miner of each training set of a job."""

    spec: FinetuneJobSpec
    located: Located
    workspace: Workspace
    folder: Path
    """Where embeddings are kept."""
    tracker: Tracker

    def of(self, dataset: TrainDataset) -> Miner | None:
        """Return who finds the negatives of `dataset`, None if it wants none; loads the model."""
        wanted = dataset.mine_negatives
        if wanted is None:
            return None
        model = self._load(dataset, wanted, device=_CPU)
        key = json.dumps(self._key(dataset, wanted))
        reader = InputReader.of(model, images=self.workspace.images)
        encode = Encoding(model, reader, self.spec.evaluation.batch_size)
        embeddings = EmbeddingCache(self.folder, key, encode, dataset.name, self.tracker)
        return Miner(wanted, embeddings, model.similarity, seed=self.spec.training.seed)

    def check(self, dataset: TrainDataset, columns: Sequence[Column]) -> Iterator[InputProblem]:
        """Yield what a miner of its own cannot do for `dataset`; the base model is checked by itself."""
        wanted = dataset.mine_negatives
        if wanted is None or wanted.source is None:
            return
        path = f"{self._field(dataset)}.source"
        if because := adapter_without_weights(self.workspace.other_model(wanted.source, wanted.revision)):
            yield InputProblem(Reason.UNSUPPORTED_MODEL, f"{path}: {wanted.source} {because}")
            return
        model = self._load(dataset, wanted, device=META)
        yield from check_tokens(model, path=path, source=wanted.source)
        modalities = modality_names(model)
        if missing := {column.modality for column in columns} - set(modalities):
            message = (
                f"{path}: {wanted.source} encodes {', '.join(modalities)} only, and the set "
                f"holds {', '.join(sorted(missing))}s too; name a model that encodes them"
            )
            yield InputProblem(Reason.UNSUPPORTED_MODALITY, message)

    def _load(self, dataset: TrainDataset, wanted: MinedNegatives, *, device: torch.device) -> SentenceTransformer:
        if wanted.source is None:
            return load_model(self.spec.model, self.workspace, device=device, seed=self.spec.training.seed)
        return load_encoder(
            Part(
                path=self._field(dataset),
                source=wanted.source,
                folder=self.workspace.other_model(wanted.source, wanted.revision),
                device=device,
                weights=precision_arguments(Model(source=wanted.source), device=device),
            )
        )

    def _key(self, dataset: TrainDataset, wanted: MinedNegatives) -> list[str | int]:
        if wanted.source is not None:
            return [wanted.source, self.located.models[self._field(dataset)].revision]
        return [self.located.model_revision, self.spec.model.model_dump_json(), self.spec.training.seed]

    def _field(self, dataset: TrainDataset) -> str:
        return f"spec.data.train[{self.spec.data.train.index(dataset)}].mineNegatives"


@dataclass(frozen=True)
class Encoding:
    """Embeds as the model does when it searches, prompts included."""

    model: SentenceTransformer
    reader: InputReader
    batch_size: int

    def __call__(self, cells: Sequence[str], modality: Modality, role: Role) -> Floats:
        """Return float32 embeddings of length 1, one row per cell."""
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        inputs = [self.reader.read(cell, modality) for cell in cells]
        found = encode(inputs, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)
