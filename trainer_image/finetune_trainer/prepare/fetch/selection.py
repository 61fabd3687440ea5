"""Which files of a model or dataset repository are worth fetching."""

from fnmatch import fnmatch
from pathlib import PurePosixPath

#: Weights and exports of other frameworks, and code: none of it is ever loaded.
_USELESS = (
    "*.onnx",
    "*.onnx_data",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.tflite",
    "*.gguf",
    "*.mlmodel",
    "*.ckpt",
    "*.py",
    "*.pyc",
    "onnx/*",
    "openvino/*",
    "coreml/*",
    "original/*",
    "*/.git/*",
    ".git/*",
    ".gitattributes",
)
_PICKLED = (".bin", ".pt", ".pth")


def select_model_files(paths: list[str]) -> list[str]:
    """Return the files that may be loaded; pickled weights only where no safetensors are beside them."""
    safe_folders = {str(PurePosixPath(path).parent) for path in paths if path.endswith(".safetensors")}
    return [path for path in paths if not _is_useless(path) and not _is_superseded(path, safe_folders)]


def select_dataset_files(paths: list[str]) -> list[str]:
    """Return everything but code and git's own files."""
    return [path for path in paths if not path.endswith(".py") and not path.startswith(".git")]


def _is_useless(path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in _USELESS)


def _is_superseded(path: str, safe_folders: set[str]) -> bool:
    return path.endswith(_PICKLED) and str(PurePosixPath(path).parent) in safe_folders
