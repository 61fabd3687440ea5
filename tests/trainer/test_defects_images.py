# ruff: noqa: ANN401 - torch's and the library's types are imported where a test needs them
"""What the library does wrong with images, as in `test_defects.py`: it ships them between ranks, and it joins them."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.workspace import Workspace
from finetune_trainer.workspace.images import KeptImages
from tests.trainer.gang import start_gang
from tests.trainer.train_inputs import as_files, prepare_pages, run_config
from tests.trainer.trainers import PLAIN

NUM_IMAGES = 8


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare_pages(tmp_path_factory.mktemp("defects"), run_config(), rows=NUM_IMAGES, held_out=0)


def images_of(workspace: Workspace) -> list[Any]:
    from finetune_trainer.recipe.model.inputs import open_image

    images = KeptImages(workspace.images)
    return [open_image(images.read(name)) for name in images.index["name"].to_pylist()][:NUM_IMAGES]


def bytes_between_ranks() -> list[int]:
    """Return a list that takes the size of everything that this rank hands to the others from now on."""
    import torch

    distributed: Any = torch.distributed
    sizes: list[int] = []
    scatter, gather, add = distributed.scatter_object_list, distributed.all_gather_object, distributed.all_reduce

    def scatter_and_count(into: Any, values: Any = None, **settings: Any) -> None:
        sizes.append(len(pickle.dumps(values)))
        scatter(into, values, **settings)

    def gather_and_count(into: Any, value: Any, **settings: Any) -> None:
        sizes.append(len(pickle.dumps(value)))
        gather(into, value, **settings)

    def add_and_count(rows_ND: Any, **settings: Any) -> None:  # noqa: N803 - its shape
        sizes.append(rows_ND.numel() * rows_ND.element_size())
        add(rows_ND, **settings)

    distributed.scatter_object_list = scatter_and_count
    distributed.all_gather_object = gather_and_count
    distributed.all_reduce = add_and_count
    return sizes


def evaluate_with_the_library(root: Path) -> int:
    """Embed images as the library's trainer has evaluators do it; return the bytes that this rank sent."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util.distributed import distributed_evaluation
    from torch import distributed

    distributed.init_process_group("gloo")
    sizes = bytes_between_ranks()
    model = SentenceTransformer(str(Workspace(root).base_model), device="cpu")
    with distributed_evaluation(model) as evaluates:
        if evaluates:
            model.encode_document(images_of(Workspace(root)))
    return sum(sizes)


def evaluate_with_ours(root: Path) -> int:
    """Embed the same images; return the bytes that this rank sent."""
    from sentence_transformers import SentenceTransformer

    from finetune_trainer.recipe.model.inputs import InputReader
    from finetune_trainer.train.evaluation.dataset import Items, PairSet
    from finetune_trainer.train.evaluation.encode import Encoder
    from finetune_trainer.train.evaluation.shares import Shares
    from finetune_trainer.train.gang.ranks import join

    ranks, workspace = join(run_config()), Workspace(root)
    sizes = bytes_between_ranks()
    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    cells = KeptImages(workspace.images).index["name"].to_pylist()
    images = Items(cells[:NUM_IMAGES], cells[:NUM_IMAGES], "image")
    encoder = Encoder(model, InputReader.of(model, images=workspace.images), Shares(ranks, batch_size=4))
    pages = PairSet("pages", images, images, labels=np.zeros(NUM_IMAGES))
    encoder.read([pages]).score_pairs(pages, dimension=None)
    return sum(sizes)


def test_the_plain_library_sends_decoded_images_from_rank_to_rank_and_ours_sends_embeddings_alone(
    workspace: Workspace,
) -> None:
    num_pixel_bytes = [image.width * image.height * 3 for image in images_of(workspace)]

    plain, _ = start_gang(evaluate_with_the_library, workspace.root).results()
    ours = start_gang(evaluate_with_ours, workspace.root).results()

    assert plain > sum(num_pixel_bytes)
    assert max(ours) < min(num_pixel_bytes)
    assert min(ours) > 0


def train_on_lists_of_images(root: Path, folder: Path) -> tuple[float, list[int]]:
    """Make one step with two images in each document; return the loss, and how many images each document had."""
    from datasets import Dataset, Image, Sequence
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.sentence_transformer import losses

    from tests.trainer.plain_library import arguments_of

    workspace = Workspace(root)
    model = SentenceTransformer(str(workspace.base_model), device="cpu")
    pages = [str(path) for path in as_files(workspace).values()]
    documents = [[pages[number], pages[number + 1]] for number in range(4)]
    rows = Dataset.from_dict({"query": [f"page {number}" for number in range(4)], "positive": documents})
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments_of(Arguments, folder, max_steps=1, per_device_train_batch_size=4),
        train_dataset=rows.cast_column("positive", Sequence(Image())),
        loss=getattr(losses, PLAIN)(model),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    return trainer.train().training_loss, batch["positive_num_images_per_sample"].tolist()


def test_the_plain_library_makes_one_document_of_a_list_of_two_images_and_trains_on_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    ((loss, num_images),) = start_gang(train_on_lists_of_images, workspace.root, tmp_path, world_size=1).results()

    assert num_images == [2, 2, 2, 2]
    assert loss > 0
