"""One model to load: what the spec says about it, and where prepare put it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from finetune_api.model import Model, Module, Route
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.model.precision import META, precision_arguments

#: For every from_pretrained: nothing is fetched, and no code of a model is run.
LOCKED = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class Part:
    """A model in a folder: spec.model itself, or one route of its router."""

    path: str
    """Field path in the spec."""
    source: str
    folder: Path
    device: torch.device
    weights: dict[str, Any]
    """Arguments of the model's from_pretrained."""
    processor: dict[str, Any] = field(default_factory=dict)
    """Arguments of the processor's from_pretrained."""
    modules: Sequence[Module] = ()
    modalities: dict[str, Any] = field(default_factory=dict)
    num_labels: int | None = None

    @property
    def saved_by(self) -> str | None:
        """Return the class of Sentence Transformers that saved the folder, None if none of them did."""
        if not (self.folder / "modules.json").is_file():
            return None
        config = self.folder / "config_sentence_transformers.json"
        settings = json.loads(config.read_bytes()) if config.is_file() else {}
        return str(settings.get("model_type", "SentenceTransformer"))


def parts_of(
    spec: Model, workspace: Workspace, *, device: torch.device = META, computes_on: torch.device | None = None
) -> dict[str, Part]:
    """Return every model that spec.model reads by the name of its route; by the empty name without a router."""
    weights = precision_arguments(spec, device=device, computes_on=computes_on)
    if spec.router is None:
        return {"": _whole(spec, workspace, device=device, weights={**spec.model_kwargs, **weights})}
    return {
        name: _route(f"spec.model.router.routes.{name}", route, workspace, device=device, weights=weights)
        for name, route in spec.router.routes.items()
    }


def _whole(spec: Model, workspace: Workspace, *, device: torch.device, weights: dict[str, Any]) -> Part:
    return Part(
        path="spec.model",
        source=str(spec.source),
        folder=workspace.base_model,
        device=device,
        weights=weights,
        processor=dict(spec.processor_kwargs),
        modules=spec.modules,
        modalities=dict(spec.modalities),
        num_labels=spec.num_labels,
    )


def _route(path: str, route: Route, workspace: Workspace, *, device: torch.device, weights: dict[str, Any]) -> Part:
    return Part(
        path=path,
        source=route.source,
        folder=workspace.other_model(route.source, route.revision),
        device=device,
        weights=weights,
        modules=route.modules,
    )
