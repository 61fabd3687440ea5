"""The library's refusals, told as what is wrong with the spec."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune_api.reasons import Reason
from finetune_trainer.causes import one_line
from finetune_trainer.distributed.errors import is_out_of_memory
from finetune_trainer.failures import RunFailure

#: What the library raises about models and arguments. Others, such as those of an accelerator, are not the spec's.
REFUSALS = (AttributeError, ImportError, LookupError, OSError, TypeError, ValueError)
_LONGEST = 450


@contextmanager
def told_as(saying: str, *, reason: Reason = Reason.UNSUPPORTED_MODEL) -> Iterator[None]:
    """Raise what the library refuses as RunFailure: `saying`, which starts with a field path, and the library's words.

    Memory that runs out, and RunFailures, pass through.
    """
    try:
        yield
    except REFUSALS as error:
        if is_out_of_memory(error):
            raise
        raise RunFailure(reason, f"{saying}: {one_line(error)[:_LONGEST]}") from error


def adapter_without_weights(folder: Path) -> str | None:
    """Return that and of which model the folder holds a low-rank adapter alone, and what to do; None if it does not."""
    for config in sorted(folder.rglob("adapter_config.json")):
        weights = [path for path in config.parent.iterdir() if path.suffix in (".safetensors", ".bin")]
        if all(path.name.startswith("adapter_model") for path in weights):
            base = json.loads(config.read_bytes()).get("base_model_name_or_path") or "a model that it does not name"
            fix = "merge it into that and save the whole, or name that model and train an adapter with spec.model.lora"
            return f"is an adapter of {base} without weights of its own; {fix}"
    return None
