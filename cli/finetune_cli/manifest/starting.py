"""A first manifest for a task, from a few answers: sizes, loss and columns that go together. Pure.

What is not answered is as in the examples: examples/quickstart.yaml for texts, qwen3-vl-vdr.yaml and
multimodal-reranker.yaml for pages.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_api.manifest import API_VERSION
from finetune_api.types import KIND

LAPTOP, CLUSTER = "laptop", "cluster"
TOKEN_SECRET = "hub-token"  # noqa: S105 - the name of a Secret
#: How many rows, of data that we know nothing of, are kept for measuring.
_HOLD_OUT = "10%"
_PIXELS = {"size": {"shortest_edge": 784, "longest_edge": 360000}}
_VDR = {"source": "hf://tomaarsen/llamaindex-vdr-en-train-preprocessed", "split": "train"}
_REPORTS = {"source": "hf://philschmid/finanical-rag-embedding-dataset"}  # spelt like this

Part = dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """Which columns play which part."""

    query: str
    positive: str
    negative: str | None = None

    def as_spec(self) -> Part:
        """Return them as a manifest has them."""
        negatives = {"negatives": [self.negative]} if self.negative else {}
        return {"query": self.query, "positive": self.positive, **negatives}


@dataclass(frozen=True)
class Need:
    """What one training process needs."""

    cpu: int
    memory_gi: int
    shared_memory_mi: int


@dataclass(frozen=True)
class Room:
    """What a job of a task asks for."""

    on_cpu: Need
    on_accelerator: Need
    storage: str
    own_storage: str
    """For a model or data of which nothing is known."""


@dataclass(frozen=True)
class Task:
    """What is learnt, with all that a manifest says of it where nothing else was answered."""

    title: str
    model: Part
    train: Part
    """Rows to train on; the dataset's `source` is that of its evaluation set, too."""
    evaluation: Part | None
    """Rows to measure on; None: they are held out of training."""
    columns: Columns
    own_columns: Columns
    """What columns of other data are called, for all that we know."""
    training: Part
    room: Room
    every: str = "10%"


_TEXTS = Room(on_cpu=Need(1, 3, 64), on_accelerator=Need(4, 10, 1024), storage="2Gi", own_storage="10Gi")
_PAGES = Room(on_cpu=Need(4, 56, 1024), on_accelerator=Need(8, 56, 8192), storage="100Gi", own_storage="100Gi")

TASKS: Mapping[str, Task] = {
    "text-embedding": Task(
        title="an embedding model that finds the text that answers a question",
        model={"source": "hf://sentence-transformers/all-MiniLM-L6-v2", "maxSeqLength": 64},
        train={**_REPORTS, "split": "train[:640]"},
        evaluation={**_REPORTS, "split": "train[-300:]"},
        columns=Columns("question", "context"),
        own_columns=Columns("query", "positive"),
        training={
            "loss": {"name": "MultipleNegativesRankingLoss"},
            "perDeviceTrainBatchSize": 32,
            "learningRate": 1e-4,
        },
        every="50%",
        room=_TEXTS,
    ),
    "text-reranker": Task(
        title="a reranker that orders texts by how well they answer a question",
        model={"kind": "Reranker", "source": "hf://cross-encoder/ms-marco-MiniLM-L6-v2", "maxSeqLength": 256},
        train={"source": "hf://sentence-transformers/msmarco-bm25", "subset": "triplet", "split": "train[:10000]"},
        evaluation=None,
        columns=Columns("query", "positive", "negative"),
        own_columns=Columns("query", "positive", "negative"),
        training={
            "loss": {"name": "MultipleNegativesRankingLoss", "arguments": {"num_negatives": 4}},
            "perDeviceTrainBatchSize": 16,
            "learningRate": 2e-5,
        },
        room=_TEXTS,
    ),
    "page-embedding": Task(
        title="an embedding model that finds the page, as an image, that answers a question",
        model={"source": "hf://Qwen/Qwen3-VL-Embedding-2B", "dtype": "bfloat16", "processorKwargs": _PIXELS},
        train={**_VDR, "subset": "train", "limit": 10000},
        evaluation={**_VDR, "subset": "eval", "limit": 300},
        columns=Columns("query", "image", "negative_0"),
        own_columns=Columns("query", "image"),
        training={
            "loss": {"name": "CachedMultipleNegativesRankingLoss", "arguments": {"mini_batch_size": "auto"}},
            "perDeviceTrainBatchSize": 8,
            "learningRate": 2e-5,
        },
        room=_PAGES,
    ),
    "page-reranker": Task(
        title="a reranker that orders pages, as images, by how well they answer a question",
        model={
            "kind": "Reranker",
            "source": "hf://Qwen/Qwen3-VL-2B-Instruct",
            "modules": [
                {"type": "Transformer", "arguments": {"transformer_task": "any-to-any"}},
                {"type": "LogitScore", "arguments": {"true_token": "1", "false_token": "0"}},
            ],
            "processorKwargs": _PIXELS,
            "lora": {"rank": 16, "alpha": 32},
        },
        train={**_VDR, "subset": "train", "limit": 10000},
        evaluation={**_VDR, "subset": "eval", "limit": 300},
        columns=Columns("query", "image", "negative_0"),
        own_columns=Columns("query", "image", "negative"),
        training={
            "loss": {
                "name": "CachedMultipleNegativesRankingLoss",
                "arguments": {"num_negatives": 4, "mini_batch_size": "auto"},
            },
            "perDeviceTrainBatchSize": 8,
            "learningRate": 5e-5,
        },
        room=_PAGES,
    ),
}
DEFAULT_TASK = "text-embedding"


@dataclass(frozen=True)
class Answers:
    """What somebody wants to train."""

    name: str = "quickstart"
    task: str = DEFAULT_TASK
    where: str = LAPTOP
    model: str | None = None
    data: str | None = None
    columns: Columns | None = None
    repository: str | None = None
    nodes: int = 1
    accelerators: int | None = None
    """Per node; None: one where there is one."""

    @property
    def per_node(self) -> int:
        """Return the accelerators of a node."""
        return int(self.where != LAPTOP) if self.accelerators is None else self.accelerators


def build_manifest(answers: Answers) -> Part:
    """Return a FinetuneJob."""
    task = TASKS[answers.task]
    spec = {
        "model": _model(task, answers),
        "data": _data(task, answers),
        "training": task.training,
        "evaluation": {"every": task.every},
        **_room(task, answers),
    }
    if answers.repository is not None:
        spec["publish"] = {"repository": answers.repository, "tokenSecret": {"name": TOKEN_SECRET}}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": answers.name}, "spec": spec}


def _model(task: Task, answers: Answers) -> Part:
    """Return the model; of another one than the task's nothing is known but its kind, and how large pages are."""
    if answers.model is None:
        return task.model
    kept = {name: value for name, value in task.model.items() if name in {"kind", "processorKwargs"}}
    return {**kept, "source": answers.model}


def _data(task: Task, answers: Answers) -> Part:
    columns = answers.columns or (task.columns if answers.data is None else task.own_columns)
    known = {"source": answers.data} if answers.data else task.train
    train = {"name": "questions", **known, "columns": columns.as_spec()}
    if answers.data is not None or task.evaluation is None:
        return {"train": [{**train, "holdOut": _HOLD_OUT}]}
    return {"train": [train], "evaluation": [{"name": "held-out", **task.evaluation, "columns": columns.as_spec()}]}


def _room(task: Task, answers: Answers) -> Part:
    """Return resources and storage."""
    processes = max(1, answers.per_node)
    need = task.room.on_accelerator if answers.per_node else task.room.on_cpu
    is_known = answers.model is answers.data is None
    several = {"nodes": answers.nodes} if answers.nodes != 1 else {}
    return {
        "resources": {
            **several,
            "accelerator": {"perNode": answers.per_node},
            "requests": {"cpu": str(need.cpu * processes), "memory": f"{need.memory_gi * processes}Gi"},
            "sharedMemory": f"{need.shared_memory_mi * processes}Mi",
        },
        "storage": {
            "size": task.room.storage if is_known else task.room.own_storage,
            **({"accessMode": "ReadWriteMany"} if several else {}),
        },
    }


def next_steps(answers: Answers, file: str) -> list[str]:
    """Return the commands that come next, as a shell takes them."""
    typed = shlex.quote(file)
    if answers.where != CLUSTER:
        login = ["hf auth login"] if answers.repository else []
        return [*login, f"finetune run {typed}"]
    token = f"kubectl create secret generic {TOKEN_SECRET} --from-file=token=./token"  # no shell remembers it
    return [*([token] if answers.repository else []), f"finetune submit {typed} --watch"]
