"""The list of inputs, and how a folder of them is made."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .cache import ensure_built


@dataclass(frozen=True)
class Input:
    """A Hub repository that examples read, and the module whose `build(folder)` makes its files."""

    path: str
    examples: tuple[str, ...]
    module: str
    cached: bool = True

    def build(self, folder: Path) -> None:
        """Make the files; the import waits until here, because it takes longer than reading them from the cache."""
        build: Callable[[Path], None] = import_module(f".{self.module}", __package__).build
        build(folder)


INPUTS = (
    Input(path="models/demo/tiny-qwen3-vl", examples=("pages", "vlm-lora", "two-sets"), module="tiny_qwen3_vl"),
    Input(path="datasets/demo/pages", examples=("pages", "vlm-lora", "two-sets", "reranker"), module="pages"),
    Input(path="datasets/demo/page-questions", examples=("two-sets",), module="page_questions"),
    Input(
        path="models/demo/all-minilm-l6-v2",
        examples=("manuals", "lora", "mined-negatives", "router"),
        module="minilm",
        cached=False,
    ),
    Input(path="datasets/demo/manuals", examples=("manuals", "lora", "mined-negatives"), module="manuals"),
    Input(path="models/demo/tiny-qwen3-vl-base", examples=("reranker",), module="tiny_reranker"),
    Input(path="datasets/demo/page-candidates", examples=("reranker",), module="page_candidates"),
    Input(path="models/demo/tiny-vit", examples=("router",), module="tiny_vit"),
    Input(path="datasets/demo/manual-pages", examples=("router",), module="manual_pages"),
    # Under the names that they have on the public Hub; the model is the real one.
    Input(
        path="models/sentence-transformers/all-MiniLM-L6-v2", examples=("quickstart",), module="minilm", cached=False
    ),
    Input(
        path="datasets/philschmid/finanical-rag-embedding-dataset", examples=("quickstart",), module="manual_sentences"
    ),
)
EXAMPLES = tuple(dict.fromkeys(example for entry in INPUTS for example in entry.examples))


def choose_inputs(example: str) -> tuple[Input, ...]:
    """Return the inputs of one example, or of `all`."""
    return tuple(entry for entry in INPUTS if example in {*entry.examples, "all"})


def build_input(entry: Input, *, folder: Path) -> Path:
    """Put the files of one input below `folder`, from the cache where it has them; return where they are."""
    target = folder / entry.path
    if target.exists():
        shutil.rmtree(target)
    if entry.cached:
        shutil.copytree(ensure_built(entry.module, entry.build), target)
    else:
        entry.build(target)
    return target


def find_repositories(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield kind (`model` or `dataset`), OWNER/NAME and folder of every repository that was built below `folder`."""
    for kind in ("model", "dataset"):
        for path in sorted(folder.glob(f"{kind}s/*/*")):
            yield kind, f"{path.parent.name}/{path.name}", path
