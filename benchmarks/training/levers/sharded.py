"""One rank of the sharding lever: evaluates once to warm up and once on the clock, pages as paths or in memory."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util.distributed import distributed_evaluation
from torch import distributed

from finetune_api.workspace import Workspace
from finetune_trainer.recipe.model.inputs import InputReader, open_image
from finetune_trainer.train.evaluation.dataset import RetrievalSet, load_retrieval_set
from finetune_trainer.train.evaluation.encode import Encoder
from finetune_trainer.train.evaluation.evaluate import Evaluation, measure
from finetune_trainer.train.evaluation.shares import Shares
from finetune_trainer.train.gang.ranks import Ranks
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import InputsManifest

BATCH_SIZE = 16


def main(way: str, folder: Path, workspace: Workspace) -> None:
    """Evaluate in the named way; rank 0 writes the seconds."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    control = distributed.group.WORLD
    assert isinstance(control, distributed.ProcessGroup)
    ranks = Ranks(rank=rank, world_size=world_size, control=control)
    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    held_out = load_retrieval_set(workspace, InputsManifest.read(workspace.manifest).evaluations[0])
    evaluate = as_paths(model, workspace, held_out, ranks) if way == "paths" else as_images(model, workspace, held_out)
    for _ in range(2):
        distributed.barrier()
        start = time.perf_counter()
        evaluate()
        seconds = time.perf_counter() - start
    if rank == 0:
        (folder / "seconds").write_text(str(seconds))
    distributed.destroy_process_group()


def as_paths(
    model: SentenceTransformer, workspace: Workspace, held_out: RetrievalSet, ranks: Ranks
) -> Callable[[], object]:
    """Return the trainer's evaluation."""
    reader = InputReader.of(model, images=workspace.images)
    encoder = Encoder(model, reader, Shares(ranks, batch_size=BATCH_SIZE))
    return lambda: measure([Evaluation(held_out, ("ndcg@10",))], encoder)


def as_images(model: SentenceTransformer, workspace: Workspace, held_out: RetrievalSet) -> Callable[[], object]:
    """Return the library's evaluation of pages in memory, shared among ranks as its Trainer does."""
    images = KeptImages(workspace.images)
    cells = zip(held_out.documents.ids, held_out.documents.cells, strict=True)
    pages = {name: open_image(images.read(cell)) for name, cell in cells}
    queries = dict(zip(held_out.queries.ids, held_out.queries.cells, strict=True))
    evaluator = InformationRetrievalEvaluator(queries, pages, dict(held_out.relevant), batch_size=BATCH_SIZE)

    def evaluate() -> None:
        with distributed_evaluation(model) as runs:
            if runs:
                evaluator(model)

    return evaluate


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Workspace(Path(sys.argv[3])))
