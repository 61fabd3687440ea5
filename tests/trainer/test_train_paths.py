"""Ways to say a model, trained: ranks step as one process with the same global batch does, and end up equal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.contract import RunConfig
from finetune_api.losses import Label
from finetune_api.workspace import Workspace
from tests.trainer.gang import start_gang
from tests.trainer.model_folders import CLIP, EMBEDDER, STATIC, TEXT, VIT, VLM, prepare_models
from tests.trainer.test_model_paths import ENCODERS, IMAGE_ROUTE, RERANKERS
from tests.trainer.train_inputs import CellsOfSet, draw_pages, prepare_sets, run_config, text_set
from tests.trainer.trainers import CACHED, PLAIN, open_session, open_trainer

STEPS, GLOBAL_BATCH = 2, 4
#: How many ranks there are, and how they hold the weights.
Layout = tuple[int, str]
ALONE: Layout = (1, "None")
TWO: Layout = (2, "None")
TWO_SHARES: Layout = (2, "Optimizer")
FOUR_SHARES: Layout = (4, "Optimizer")
TWO_FULL: Layout = (2, "Full")
IN_SHARES = (TWO_SHARES, FOUR_SHARES, TWO_FULL)
ROWS = 2 * STEPS * GLOBAL_BATCH
#: How far gradients may be apart, by the precision of the weights: in the first step, where the same numbers are summed
#: in another order, and in the second, whose weights were rounded. In bfloat16 both are 0.09 from those of float32.
TOLERANCES = {"float32": (1e-4, 1e-4), "bfloat16": (0.03, 0.1), "float16": (0.01, 0.02)}
#: The same of the way that the weights went in both steps. Seen were at most 1.3e-5, 0.055 and 0.018.
TOLERANCES_OF_WAY = {"float32": 5e-5, "bfloat16": 0.12, "float16": 0.04}
#: Shares are float32, which no step rounds. Seen was 0.17.
TOLERANCE_OF_WAY_OF_SHARES = 0.2
BOTH = {"text": {"source": TEXT}, "image": {"source": VIT, "modules": IMAGE_ROUTE}}
#: Mini-batches are the same on one and on two ranks, so that rows are padded alike.
CACHED_BY_TWO = {"name": CACHED, "arguments": {"mini_batch_size": 2}}
#: What examples/lora.yaml combines.
LORA = {"dtype": "bfloat16", "lora": {"rank": 4}, "freeze": ["0.model.visual.*"]}
CHECKPOINTED = {"gradient_accumulation_steps": 2, "gradient_checkpointing": True}
#: Without a gradient: features that no later layer reads, a scale that embedding models do not use.
LAST_DEEPSTACK = frozenset({"deepstack_merger_list.1"})
POOLER = frozenset({"pooler.dense"})


def pages_or_texts(way: "Way", workspace: Workspace) -> list[CellsOfSet]:
    """Return one set: questions and what answers each, or pairs with a score for a reranker."""
    queries, pages = draw_pages(workspace, count=ROWS)
    document = "document" if way.is_reranker else "positive"
    cells: dict[str, list[Any]] = {
        "query": queries,
        document: pages if way.pages else [f"the page number {n}" for n in range(ROWS)],
    }
    if way.is_reranker:
        cells["label"] = [n % 2 for n in range(ROWS)]
    label = Label.SCORE if way.is_reranker else Label.NONE
    return [text_set("pages", cells, label=label, images=[document] if way.pages else [])]


@dataclass(frozen=True)
class Way:
    """One way to say a model, and what is trained on."""

    model: Mapping[str, Any]
    pages: bool = True
    """Whether the documents are images."""
    loss: Mapping[str, Any] = field(default_factory=lambda: CACHED_BY_TWO)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    """Further parts of spec.training."""
    sets: Callable[["Way", Workspace], list[CellsOfSet]] = pages_or_texts
    """Writes the images of its training sets, and returns those."""
    own_losses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of sets that have one, by name."""
    parts: frozenset[str] = frozenset({"0.model"})
    """Modules that have to move."""
    still: frozenset[str] = frozenset()
    """Modules in them that have no gradient."""

    @property
    def is_reranker(self) -> bool:
        return self.model.get("kind") == "Reranker"

    @property
    def dtype(self) -> str:
        return str(self.model.get("dtype", "float32"))

    @property
    def layouts(self) -> Sequence[Layout]:
        """Layouts of several ranks: four with a row each sum bfloat16 in other ways, and float16 is not sharded."""
        shares = {"float32": [FOUR_SHARES], "bfloat16": [TWO_SHARES], "float16": []}[self.dtype]
        return [TWO, *shares, *([TWO_FULL] if shares and "lora" not in self.model else [])]

    def tolerance_of_way(self, layout: Layout) -> float:
        if self.dtype == "bfloat16" and layout != TWO:
            return TOLERANCE_OF_WAY_OF_SHARES
        return TOLERANCES_OF_WAY[self.dtype]


def reranker(path: str, **settings: Any) -> Way:  # noqa: ANN401
    return Way({"kind": "Reranker"} | RERANKERS[path], loss={"name": "BinaryCrossEntropyLoss"}, **settings)


WAYS = {
    "fresh vision-language model": Way({"source": VLM}),
    "list of modules": Way(
        ENCODERS["list of modules"],
        # Its first gradient is five times longer than the others': a full step ends where the second nearly vanishes.
        training={"learningRate": 1e-3},
        parts=frozenset({"0.model", "2.linear", "3.norm"}),
        still=LAST_DEEPSTACK,
    ),
    "layers pooled with weights": Way(
        ENCODERS["layers pooled with weights"], parts=frozenset({"0.model", "1.layer_weights"})
    ),
    "two encoders in one": Way({"source": CLIP}, still=frozenset({"logit_scale"})),
    "new word vectors": Way(
        ENCODERS["new word vectors"], pages=False, loss={"name": PLAIN}, parts=frozenset({"0.embedding"})
    ),
    "router by modality": Way(
        {"router": {"routes": BOTH}},
        parts=frozenset({"0.sub_modules.text.0.model", "0.sub_modules.image.0.model", "0.sub_modules.image.2.linear"}),
        still=POOLER,
    ),
    "router by modality, texts frozen": Way(
        ENCODERS["router by modality"],
        loss={"name": PLAIN},
        parts=frozenset({"0.sub_modules.image.0.model", "0.sub_modules.image.2.linear"}),
        still=POOLER,
    ),
    "router by task": Way(
        {"router": {"by": "Task", "routes": {"query": {"source": STATIC}, "document": {"source": TEXT}}}},
        pages=False,
        loss={"name": PLAIN},
        parts=frozenset({"0.sub_modules.query.0.embedding", "0.sub_modules.document.0.model"}),
        still=POOLER,
    ),
    "dense head on the last token": reranker(
        "dense head on the last token", parts=frozenset({"0.model", "2.linear"}), still=LAST_DEEPSTACK
    ),
    "language model head": reranker("language model head", still=LAST_DEEPSTACK),
    "weights of bfloat16": Way(
        {"source": EMBEDDER, "dtype": "bfloat16"}, loss=CACHED_BY_TWO | {"matryoshkaDimensions": [64, 16]}
    ),
    "weights of float16": Way({"source": EMBEDDER, "dtype": "float16"}),
    "adapters on weights of bfloat16": Way({"source": EMBEDDER} | LORA, arguments=CHECKPOINTED),
}


def prepare(root: Path, way: Way) -> dict[Layout, tuple[RunConfig, Path]]:
    """Write a workspace; return the job for each layout of ranks."""
    prepare_models(root, **way.model)
    sets = way.sets(way, Workspace(root))
    # Plain gradient descent: what was rounded in one step weighs as little in the next.
    arguments = {"optim": "sgd", "max_grad_norm": 1e9} | dict(way.arguments)
    training = {"maxSteps": STEPS, "learningRate": 1e-2, "warmupRatio": 0, "loss": way.loss, "arguments": arguments}
    jobs = {
        (world_size, sharding): run_config(
            model=way.model,
            data={"train": [said_set(one, way) for one in sets]},
            training=training
            | dict(way.training)
            | {"perDeviceTrainBatchSize": GLOBAL_BATCH // world_size, "sharding": sharding},
            evaluation={},
        )
        for world_size, sharding in (ALONE, TWO, *IN_SHARES)
    }
    prepare_sets(root, jobs[ALONE], model=None, sets=sets)
    return {layout: (config, root) for layout, config in jobs.items()}


def said_set(one: CellsOfSet, way: Way) -> dict[str, Any]:
    """Return an entry of spec.data.train."""
    name = one.prepared.name
    loss = {"loss": way.own_losses[name]} if name in way.own_losses else {}
    columns = {column: column for column in one.cells if not column.startswith("negative")}
    return {"name": name, "source": f"hf://demo/{name}", "columns": columns} | loss


@dataclass(frozen=True)
class Trained:
    """One training, as a rank saw it."""

    gradients: Sequence[Mapping[str, Any]]
    """Of each step, by parameter: a fingerprint."""
    losses: Sequence[float]
    """Of each step, on this rank."""
    ways: Mapping[str, Any]
    """How far each parameter went in all steps together: a fingerprint."""
    moved: frozenset[str]
    """Parameters that are other ones now."""
    weights: str
    """A hash of all that is trained."""


def train_each(jobs: Sequence[tuple[RunConfig, Path]]) -> list[Trained]:
    """Train each job without dropout, which falls differently on each rank."""
    import gc

    import torch

    from finetune_trainer.train.gang.ranks import join

    gc.freeze()  # each training collects garbage; what was imported needs no looking through
    ranks = join(jobs[0][0])
    found = []
    for config, root in jobs:
        trainer, _ = open_trainer(open_session(config, Workspace(root), ranks))
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        found.append(train_and_watch(trainer))
    return found


def train_and_watch(trainer: Any) -> Trained:  # noqa: ANN401
    import hashlib

    import torch
    from transformers import TrainerCallback

    from finetune_trainer.train.loop.trainer import whole_tensor

    gradients: list[dict[str, Any]] = []
    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
            grads = {name: whole_tensor(one.grad) for name, one in trainer.trained.items() if one.grad is not None}
            gradients.append({name: fingerprint(grad) for name, grad in grads.items()})
            losses.append(float(trainer.step_loss))

    def weights() -> dict[str, torch.Tensor]:
        return {name: whole_tensor(one.detach()).clone() for name, one in trainer.trained.items()}

    trainer.add_callback(Watch())
    before = weights()
    trainer.train()
    after = weights()
    moved = frozenset(name for name, one in after.items() if not torch.equal(one, before[name]))
    ways = {name: fingerprint(one.float() - before[name].float()) for name, one in after.items()}
    flat = torch.cat([one.float().flatten() for one in after.values()])
    return Trained(gradients, losses, ways, moved, hashlib.sha256(flat.numpy().tobytes()).hexdigest())


def fingerprint(gradient: Any) -> Any:  # noqa: ANN401
    """Return a sum over rows in which each has a weight of its own; what is a row already stays as it is."""
    import torch

    rows = gradient.detach().float()
    return (rows if rows.ndim < 2 else torch.arange(len(rows)).cos() @ rows.flatten(1)).numpy()


def length(fingerprints: Mapping[str, Any]) -> float:
    """Return the norm over all parameters."""
    return float(np.linalg.norm(np.concatenate([np.atleast_1d(one) for one in fingerprints.values()])))


def distance(some: Mapping[str, Any], others: Mapping[str, Any]) -> float:
    """Return the norm of the difference over all parameters."""
    return length({name: some[name] - other for name, other in others.items()})


def train_alone_and_together(
    ways: Mapping[str, Way], tmp_path_factory: pytest.TempPathFactory, *, shares: bool = True
) -> dict[str, dict[Layout, list[Trained]]]:
    """Return for each way how one process trained it, and how each of several ranks did, with `shares` or without."""
    jobs = {name: prepare(tmp_path_factory.mktemp("way"), way) for name, way in ways.items()}
    found: dict[str, dict[Layout, list[Trained]]] = {name: {} for name in ways}
    for layout in (ALONE, TWO, *(IN_SHARES if shares else [])):
        names = [name for name, way in ways.items() if layout in (ALONE, *way.layouts)]
        ranks = start_gang(train_each, [jobs[name][layout] for name in names], world_size=layout[0]).results()
        for name, *of_each in zip(names, *ranks, strict=True):
            found[name][layout] = list(of_each)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[Layout, list[Trained]]]:
    """Each way trained in one process, and by each of several ranks."""
    return train_alone_and_together(WAYS, tmp_path_factory)


@pytest.mark.parametrize("name", WAYS)
def test_ranks_step_as_one_process_with_the_same_global_batch(
    name: str, trained: dict[str, dict[Layout, list[Trained]]]
) -> None:
    (alone,) = trained[name][ALONE]

    for layout, ranks in trained[name].items():
        for rank in ranks:
            for one, other, tolerance in zip(
                rank.gradients, alone.gradients, TOLERANCES[WAYS[name].dtype], strict=True
            ):
                assert one.keys() == other.keys()
                assert distance(one, other) < tolerance * length(other), layout


@pytest.mark.parametrize("name", WAYS)
def test_ranks_end_with_the_weights_of_one_process_with_the_same_global_batches(
    name: str, trained: dict[str, dict[Layout, list[Trained]]]
) -> None:
    (alone,) = trained[name][ALONE]

    for layout, ranks in trained[name].items():
        for rank in ranks:
            assert rank.ways.keys() == alone.ways.keys()
            allowed = WAYS[name].tolerance_of_way(layout) * length(alone.ways)
            assert distance(rank.ways, alone.ways) < allowed, layout


@pytest.mark.parametrize("name", WAYS)
def test_all_ranks_end_with_the_same_weights(name: str, trained: dict[str, dict[Layout, list[Trained]]]) -> None:
    for layout, ranks in trained[name].items():
        assert {(rank.weights, rank.moved) for rank in ranks} == {(ranks[0].weights, ranks[0].moved)}, layout


@pytest.mark.parametrize("name", WAYS)
def test_every_part_that_is_trained_has_a_gradient_and_moves(
    name: str, trained: dict[str, dict[Layout, list[Trained]]]
) -> None:
    way = WAYS[name]

    for run in (run for ranks in trained[name].values() for run in ranks):
        idle = [one for one, gradient in run.gradients[-1].items() if not np.any(gradient)]
        assert [one for one in idle if not any(part in one for part in way.still)] == []
        assert {part for part in way.parts if any(one.startswith(part) for one in run.moved)} == way.parts
        assert [one for one in run.moved if not one.startswith(tuple(way.parts))] == []
