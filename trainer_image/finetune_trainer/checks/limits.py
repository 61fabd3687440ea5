"""Whether inputs of the stated length fit the model, and its images the stated length. Imports torch.

Transformers look positions up in a table of learned ones (BERT and its kin) or compute them (rotary models, T5). A
table has an end, behind which training dies in the first long batch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import nn

from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.data.manifest import PreparedEvaluation, PreparedTrain
from finetune_trainer.data.problems import InputProblem
from finetune_trainer.model.inputs import open_image
from finetune_trainer.model.prompts import prompts_of

PATH = "spec.model.maxSeqLength"
_TABLES = ("position_embeddings", "position_embedding", "embed_positions", "wpe")
#: Parts of the names of layers that see no text.
_NOT_TEXT = ("vision", "visual", "image", "audio")
#: Images of one set that are looked at for the largest one; reading the size of a file takes about 0.1 ms.
MOST_IMAGES = 2000
_NO_LIMIT = 2**30


def check_positions(model: SentenceTransformer | CrossEncoder, spec: Model) -> Iterator[InputProblem]:
    """Yield a length, stated or the model's own, that is more than the model has positions for."""
    transformers = [module for module in model.modules() if isinstance(module, Transformer)]
    most = min((limit for one in transformers if (limit := num_positions(one.model)) is not None), default=None)
    own = model.max_seq_length
    own = own if isinstance(own, int) and own < _NO_LIMIT else None  # tokenizers say "none" with a number of 31 digits
    length = own if spec.max_seq_length is None else spec.max_seq_length
    if most is not None and length is not None and length > most:
        whose = f"is not given, and the model's own, {own}," if spec.max_seq_length is None else f"{length}"
        because = f"the model knows {most} positions, and longer texts would end the training"
        message = f"{PATH}: {whose} is wrong because {because}; give {most} or less"
        yield InputProblem(Reason.INVALID_ARGUMENT, message)


def num_positions(backbone: nn.Module) -> int | None:
    """Return how many tokens a text may have for the tables of positions, None if there are none."""
    tables = [
        module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Embedding)
        and name.rpartition(".")[2] in _TABLES
        and not any(part in name for part in _NOT_TEXT)
    ]
    return min((table.num_embeddings - _unused(table) for table in tables), default=None)


def _unused(table: nn.Embedding) -> int:
    """Return the places before the first position: RoBERTa's are those up to the padding token, OPT's an offset."""
    offset = getattr(table, "offset", 0)
    return int(offset) if offset else 0 if table.padding_idx is None else table.padding_idx + 1


def check_images(
    train: Sequence[PreparedTrain],
    evaluations: Sequence[PreparedEvaluation],
    model: SentenceTransformer | CrossEncoder,
    spec: Model,
    workspace: Workspace,
) -> Iterator[InputProblem]:
    """Yield every set with an image of more tokens than the stated length: cut off, they are no image any more.

    The largest of up to MOST_IMAGES images of each set goes through the model's own processor.
    """
    if spec.max_seq_length is None:
        return
    for path, cells in _image_cells(train, evaluations, workspace):
        largest = _largest([workspace.images / cell for cell in cells])
        needed = _num_tokens(model, largest)
        if needed > spec.max_seq_length:
            because = f"an image of {path} makes {needed} tokens, its prompt included"
            fix = f"give {needed} or more, or limit the size of images in spec.model.processorKwargs"
            message = f"{PATH}: {spec.max_seq_length} is wrong because {because}; {fix}"
            yield InputProblem(Reason.INVALID_ARGUMENT, message)


def _image_cells(
    train: Sequence[PreparedTrain], evaluations: Sequence[PreparedEvaluation], workspace: Workspace
) -> Iterator[tuple[str, list[str]]]:
    """Yield the field path of each set with images, and some of them."""
    for index, one in enumerate(train):
        names = [column.name for column in one.columns if column.modality == "image"]
        if names:
            yield f"spec.data.train[{index}]", _spread(_read(workspace.train_table(one.name), names))
    for index, evaluation in enumerate(evaluations):
        folder = workspace.evaluation_folder(evaluation.name)
        tables = _EVALUATION_TABLES if (folder / "queries.parquet").is_file() else _EVALUATION_ROWS
        modalities = {"query": evaluation.query_modality, "corpus": evaluation.corpus_modality}
        cells = [
            cell
            for role, (file, names) in tables.items()
            if modalities[role] == "image"
            for cell in _read(folder / file, names)
        ]
        if cells:
            yield f"spec.data.evaluation[{index}]", _spread(cells)


_EVALUATION_TABLES = {"query": ("queries.parquet", ["value"]), "corpus": ("corpus.parquet", ["value"])}
_EVALUATION_ROWS = {
    "query": ("rows.parquet", ["query"]),
    "corpus": ("rows.parquet", ["positive", "negative", "document"]),
}


def _read(path: Path, names: Iterable[str]) -> list[str]:
    """Return the cells of those of the columns that are there, once each."""
    known = set(pq.read_schema(path).names)
    columns: Mapping[str, list[Any]] = pq.read_table(
        path, columns=[name for name in names if name in known]
    ).to_pydict()
    cells = (cell for column in columns.values() for cell in column)
    return list(dict.fromkeys(one for cell in cells for one in (cell if isinstance(cell, list) else [cell])))


def _spread(cells: list[str]) -> list[str]:
    return cells[:: max(1, -(-len(cells) // MOST_IMAGES))]


def _largest(paths: Sequence[Path]) -> Path:
    def area(path: Path) -> int:
        with Image.open(path) as image:
            return image.width * image.height

    return max(paths, key=area)


def _num_tokens(model: SentenceTransformer | CrossEncoder, path: Path) -> int:
    """Return the tokens of one image with its prompt, 0 where images are none."""
    image, prompts = open_image(path), prompts_of(model)
    inputs = [("", image)] if isinstance(model, CrossEncoder) else [image]
    prompt = prompts["query" if isinstance(model, CrossEncoder) else "document"]
    with _without_limit(model):
        features = model.preprocess(inputs, prompt=prompt or None)
    tokens = features.get("input_ids")
    return 0 if tokens is None else int(tokens.shape[-1])


@contextmanager
def _without_limit(model: SentenceTransformer | CrossEncoder) -> Iterator[None]:
    limits = [(module, module.max_seq_length) for module in model.modules() if isinstance(module, Transformer)]
    try:
        for module, _ in limits:
            module.max_seq_length = _NO_LIMIT
        yield
    finally:
        for module, limit in limits:
            module.max_seq_length = limit
