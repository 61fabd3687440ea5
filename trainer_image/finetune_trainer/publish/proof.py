"""Whether a commit holds this run's model: read back from the Hub, each file compared with the one that is here."""

import logging
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from finetune_trainer.hub.files import is_as_listed
from finetune_trainer.publish.branch import Target

CARD = "README.md"
#: The run's record.
RECORD = "finetunejob.json"
#: Curves and pictures of each run, in a folder of its name.
RUNS = "runs/"
#: What loading a model reads, by name: of another model, it would make this one half of each. All else is of others.
_READ_BY_LOADERS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.bin.index.json",
    "*.pt",
    "*.pth",
    "modules.json",
    "config.json",
    "*_config.json",
    "config_*.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.bpe",
    "*.tiktoken",
    "*.jinja",
    "chat_template*",
    "special_tokens_map.json",
    "added_tokens.json",
)

_log = logging.getLogger(__name__)


def is_foreign(path: str) -> bool:
    """Tell whether a file of the repository is none that loading a model reads: a license, a picture, notes."""
    return not any(fnmatch(PurePosixPath(path).name, pattern) for pattern in _READ_BY_LOADERS)


def is_told(path: str) -> bool:
    """Tell whether a file only tells of a model: the image at hand makes it, perhaps otherwise than one before did."""
    return path in {CARD, RECORD} or path.startswith(RUNS)


def differences(target: Target, commit: str, files: Mapping[str, Path]) -> list[str]:
    """Return every path that the Hub lists at `commit` otherwise than it is here; empty if the model is whole."""
    listed = target.files(commit)
    missing = [path for path in files if path not in listed]
    changed = [path for path in files if path in listed and not is_as_listed(files[path], listed[path])]
    unknown = [path for path in listed if path not in files and not is_foreign(path)]
    return sorted([*missing, *changed, *unknown])


def find_tagged(target: Target, tag: str, files: Mapping[str, Path], *, run: str) -> str | None:
    """Return the commit that `tag` names if it is this run's, with these files; a tag alone proves nothing."""
    found = target.commit_of(tag)
    if found is None or target.is_of_run(found, run) is False:
        return None
    return found if _is_same_model(target, found, files) else None


def find_untagged(target: Target, files: Mapping[str, Path], *, run: str) -> str | None:
    """Return this run's commit on the branch if it holds these files: an earlier try got it in, its answer was lost.

    On a Hub without a log nothing tells whose a commit is, so that there every byte of the newest one must be equal.
    """
    if (found := target.find_commit(run)) is not None:
        return found if _is_same_model(target, found, files) else None
    head = target.head()
    if head is None or target.log(head) is not None:
        return None
    return None if differences(target, head, files) else head


def _is_same_model(target: Target, commit: str, files: Mapping[str, Path]) -> bool:
    changed = [path for path in differences(target, commit, files) if not is_told(path)]
    _log.info("commit of an earlier try found", extra={"commit": commit, "differs": changed})
    return not changed
