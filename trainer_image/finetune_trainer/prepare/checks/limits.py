"""Whether inputs of the longest length fit the model, and instructions and images that length. Imports torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Router

from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.model.inputs import areas_of, open_image
from finetune_trainer.recipe.model.prompts import prompts_of
from finetune_trainer.recipe.model.tokenizers import NO_LIMIT, limit, num_positions, readers
from finetune_trainer.workspace.images import KeptImages
from finetune_trainer.workspace.manifest import PreparedEvaluation, PreparedTrain
from finetune_trainer.workspace.problems import InputProblem

PATH = "spec.model.maxSeqLength"
#: Images of one set that are looked at for the largest one; telling the size of one takes some 0.1 ms.
MOST_IMAGES = 2000
_ROLES = ("query", "document")
Item = TypeVar("Item")


def check_positions(model: SentenceTransformer | CrossEncoder, spec: Model) -> Iterator[InputProblem]:
    """Yield a length, stated or the model's own, that is more than the model has positions for."""
    transformers = [module for module in model.modules() if isinstance(module, Transformer)]
    most = min((found for one in transformers if (found := num_positions(one.model)) is not None), default=None)
    length = limit(model) if spec.max_seq_length is None else spec.max_seq_length
    if most is not None and length is not None and length > most:
        because = f"the model knows {most} positions, and longer texts would end the training"
        message = f"{PATH}: {_told(length, spec)} is wrong because {because}; give {most} or less"
        yield InputProblem(Reason.INVALID_ARGUMENT, message)


def _told(length: int, spec: Model) -> str:
    return f"{length}" if spec.max_seq_length else f"is not given, and the model's own, {length},"


def check_prompts(model: SentenceTransformer | CrossEncoder, spec: Model) -> Iterator[InputProblem]:
    """Yield the instructions that leave no place for a text: all would become the same embedding."""
    for what, needed, length in _instructions(model):
        if needed >= length:
            because = f"the instruction and the special tokens of {what} take {needed} tokens and leave none for a text"
            fix = f"shorten spec.model.prompts, or give more than {needed}"
            message = f"{PATH}: {_told(length, spec)} is wrong because {because}; {fix}"
            yield InputProblem(Reason.INVALID_ARGUMENT, message)


def prompt_notes(model: SentenceTransformer | CrossEncoder) -> list[str]:
    """Return the instructions that leave less than half of the length for a text."""
    return [
        f"spec.model.prompts: the instruction and the special tokens of {what} take {needed} of {length} tokens, so "
        "that less than half is left for a text; shorten it or raise spec.model.maxSeqLength"
        for what, needed, length in _instructions(model)
        if needed < length < 2 * needed
    ]


def _instructions(model: SentenceTransformer | CrossEncoder) -> Iterator[tuple[str, int, int]]:
    """Yield what takes texts, how many tokens it has of an empty one, and after how many it cuts."""
    for role, what in zip(_ROLES, ("queries", "documents"), strict=True):
        length = limit(_reader(model, role, "text"))
        if length is None or not model.supports("text") or (isinstance(model, CrossEncoder) and role == "document"):
            continue
        yield "pairs" if isinstance(model, CrossEncoder) else what, _num_tokens(model, "", role), length


def _reader(model: SentenceTransformer | CrossEncoder, role: str, modality: str) -> Any:  # noqa: ANN401 - any module
    """Return the module that reads inputs of a role and modality."""
    if not isinstance(model[0], Router):
        return model[0]
    return next((next(iter(route)) for name, route in model[0].sub_modules.items() if name in (role, modality)), None)


def check_images(
    train: Sequence[PreparedTrain],
    evaluations: Mapping[str, PreparedEvaluation],
    model: SentenceTransformer | CrossEncoder,
    spec: Model,
    workspace: Workspace,
) -> Iterator[InputProblem]:
    """Yield every set with an image of more tokens than the longest input: cut off, they are no image any more.

    The largest of up to MOST_IMAGES images of each set goes through the model's own processor. Evaluations are by
    field path.
    """
    images = KeptImages(workspace.images)
    for path, role, cells in _image_cells(train, evaluations, workspace):
        length = limit(_reader(model, role, "image"))
        if length is None:
            continue
        areas = areas_of(cells, images)
        needed = _num_tokens(model, open_image(images.read(max(areas, key=areas.__getitem__))), role)
        if needed > length:
            because = f"an image of {path} makes {needed} tokens, its prompt included"
            fix = f"give {needed} or more, or limit the size of images in spec.model.processorKwargs"
            message = f"{PATH}: {_told(length, spec)} is wrong because {because}; {fix}"
            yield InputProblem(Reason.INVALID_ARGUMENT, message)


def _image_cells(
    train: Sequence[PreparedTrain], evaluations: Mapping[str, PreparedEvaluation], workspace: Workspace
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the field path of each set with images, their role, and some of them."""
    for index, one in enumerate(train):
        for role in _ROLES:
            images = [column.name for column in one.columns if column.modality == "image"]
            names = [name for name in images if (name == "query") == (role == "query")]
            if names:
                yield f"spec.data.train[{index}]", role, spread(_read(workspace.train_table(one.name), names))
    for path, evaluation in evaluations.items():
        folder = workspace.evaluation_folder(evaluation.name)
        tables = _EVALUATION_TABLES if (folder / "queries.parquet").is_file() else _EVALUATION_ROWS
        modalities = {"query": evaluation.query_modality, "document": evaluation.corpus_modality}
        for role, (file, names) in tables.items():
            if modalities[role] == "image" and (cells := _read(folder / file, names)):
                yield path, role, spread(cells)


_EVALUATION_TABLES = {"query": ("queries.parquet", ["value"]), "document": ("corpus.parquet", ["value"])}
_EVALUATION_ROWS = {
    "query": ("rows.parquet", ["query"]),
    "document": ("rows.parquet", ["positive", "negative", "document"]),
}


def _read(path: Path, names: Iterable[str]) -> list[str]:
    """Return the cells of those of the columns that are there, once each."""
    known = set(pq.read_schema(path).names)
    columns: Mapping[str, list[Any]] = pq.read_table(
        path, columns=[name for name in names if name in known]
    ).to_pydict()
    cells = (cell for column in columns.values() for cell in column)
    return list(dict.fromkeys(one for cell in cells for one in (cell if isinstance(cell, list) else [cell])))


def spread(cells: list[Item]) -> list[Item]:
    """Return at most MOST_IMAGES of the cells, of all parts of a set."""
    return cells[:: max(1, -(-len(cells) // MOST_IMAGES))]


def _num_tokens(model: SentenceTransformer | CrossEncoder, value: str | Image.Image, role: str) -> int:
    """Return the tokens of one text or image with its prompt, 0 where images are none."""
    is_pair = isinstance(model, CrossEncoder)
    prompt = prompts_of(model)["query" if is_pair else role]
    with _without_limit(model):
        features = model.preprocess([("", value)] if is_pair else [value], prompt=prompt or None, task=role)
    tokens = features.get("input_ids")
    return 0 if tokens is None else int(tokens.shape[-1])


@contextmanager
def _without_limit(model: SentenceTransformer | CrossEncoder) -> Iterator[None]:
    limits = [(module, module.max_seq_length) for module in readers(model)]
    try:
        for module, _ in limits:
            module.max_seq_length = NO_LIMIT
        yield
    finally:
        for module, limit in limits:
            module.max_seq_length = limit
