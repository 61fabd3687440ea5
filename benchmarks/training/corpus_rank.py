# ruff: noqa: ANN401, N806 - the library's signatures; tensors carry their shape in their names
"""One rank of `corpus`: evaluates a set of made-up embeddings, as the trainer does, and prints what it took."""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from sentence_transformers.util import cos_sim
from torch import distributed

from finetune_trainer.recipe.model.inputs import InputReader
from finetune_trainer.train.evaluation.dataset import Items, RetrievalSet
from finetune_trainer.train.evaluation.encode import Encoder
from finetune_trainer.train.evaluation.evaluate import Evaluation, measure
from finetune_trainer.train.evaluation.shares import Shares
from finetune_trainer.train.gang.ranks import Ranks

NUM_QUERIES, WIDTH = 1000, 256
#: The whole and six more.
DIMENSIONS = (192, 128, 96, 64, 32, 16)
BATCH_SIZE = 512
#: By which a query is another number than the document that answers it.
SHIFT = 0.01


class MadeUp(torch.nn.Module):
    """Stands where an embedding model stands: the embedding of a text is made of the number in it."""

    prompts: dict[str, str] = {}  # noqa: RUF012 - as the library's
    default_prompt_name = truncate_dim = None
    modalities = ("text",)

    def __init__(self) -> None:
        super().__init__()
        self.frequencies_D = torch.rand(WIDTH, generator=torch.Generator().manual_seed(0)) * 100
        self.embedded = time.process_time()
        self.similarity = cos_sim

    def __getitem__(self, _: int) -> None:
        """Return no module: this is no router."""

    def preprocess(self, inputs: list[str], **_: Any) -> dict[str, torch.Tensor]:
        return {"numbers": torch.tensor([int(text[1:]) + SHIFT * text.startswith("q") for text in inputs])}

    def forward(self, features: dict[str, torch.Tensor], **_: Any) -> dict[str, torch.Tensor]:
        embeddings_BD = torch.sin(features["numbers"][:, None] * self.frequencies_D)
        self.embedded = time.process_time()
        return {"sentence_embedding": embeddings_BD}

    def encode(self, inputs: list[str], **_: Any) -> torch.Tensor:
        """Embed as an earlier trainer asks for it."""
        return self(self.preprocess(inputs))["sentence_embedding"]  # type: ignore[no-any-return]

    encode_query = encode_document = encode


def main(num_documents: int) -> None:
    """Evaluate once and print the figures of this rank."""
    torch.set_num_threads(1)
    ranks = join()
    asked, documents = (items(name, number) for name, number in (("q", NUM_QUERIES), ("d", num_documents)))
    relevant = {f"q{number}": {f"d{number}"} for number in range(NUM_QUERIES)}
    dataset = RetrievalSet("made up", asked, documents, relevant)
    model: Any = MadeUp()
    encoder = Encoder(model, InputReader.of(model, images=Path()), Shares(ranks, batch_size=BATCH_SIZE))
    before = psutil.Process().memory_info().rss
    (measured,) = measure([Evaluation(dataset, ("ndcg@10",), DIMENSIONS)], encoder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {
        "corpus_bytes": num_documents * WIDTH * 4,
        "taken_bytes": peak - before,
        "peak_bytes": peak,
        "search_seconds": time.process_time() - model.embedded,
        "ndcg": measured.scores.value,
    }
    print(json.dumps(figures))


def join() -> Ranks:
    """Return this rank of the gang that the environment names."""
    world_size = int(os.environ["WORLD_SIZE"])
    if world_size == 1:
        return Ranks()
    distributed.init_process_group("gloo")
    control = distributed.group.WORLD
    assert isinstance(control, distributed.ProcessGroup)
    return Ranks(rank=distributed.get_rank(), world_size=world_size, control=control)


def items(name: str, number: int) -> Items:
    """Return so many made-up texts."""
    cells = [f"{name}{one}" for one in range(number)]
    return Items(ids=cells, cells=cells, modality="text")


if __name__ == "__main__":
    main(int(sys.argv[1]))
