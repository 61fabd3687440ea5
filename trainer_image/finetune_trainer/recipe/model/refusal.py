"""The library's refusals, told as what is wrong with the spec."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeGuard

from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.memory import is_out_of_memory
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure

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
    """Return that and of which model the folder is a low-rank adapter alone, and what to do; None if it is not."""
    for loaded in loaded_folders(folder):
        config = loaded / "adapter_config.json"
        if not config.is_file() or any(_is_whole(path) for path in loaded.iterdir()):
            continue
        stated = _read_json(config)
        if not isinstance(stated, dict):
            fix = "save it again, or name a whole model"
            return f"is an adapter without weights of its own, and its adapter_config.json is no JSON object; {fix}"
        base = stated.get("base_model_name_or_path") or "a model that it does not name"
        fix = "merge it into that and save the whole, or name that model and train an adapter with spec.model.lora"
        return f"is an adapter of {base} without weights of its own; {fix}"
    return None


def loaded_folders(folder: Path) -> Iterator[Path]:
    """Yield what a model is loaded from: its modules' folders and those of a router's routes, else its own alone."""
    modules = _read_json(folder / "modules.json")
    names = [module.get("path", "") for module in modules] if _are_objects(modules) else [""]
    for name in names:
        yield folder / name
        router = _read_json(folder / name / "router_config.json")
        yield from (folder / name / route for route in (router.get("types", ()) if isinstance(router, dict) else ()))


def _is_whole(path: Path) -> bool:
    return path.suffix in (".safetensors", ".bin") and not path.name.startswith("adapter_model")


def _are_objects(value: Any) -> TypeGuard[list[dict[str, Any]]]:  # noqa: ANN401 - content of a JSON file
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _read_json(path: Path) -> Any:  # noqa: ANN401 - content of a JSON file
    """Return what the file holds; None if it is not there or broken, which is told where it is needed."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    return None
