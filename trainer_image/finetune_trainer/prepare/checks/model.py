"""What the model can do, found out by loading it without its weights in memory. Imports torch."""

import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.losses import Similarity
from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.prepare.checks.folders import check_folder
from finetune_trainer.prepare.checks.limits import check_positions, check_prompts, prompt_notes
from finetune_trainer.prepare.checks.modules import check_modules
from finetune_trainer.prepare.checks.outputs import check_outputs
from finetune_trainer.prepare.checks.parameters import check_freeze, check_lora
from finetune_trainer.prepare.checks.signing import module_signature
from finetune_trainer.prepare.checks.tokens import check_tokens, token_notes
from finetune_trainer.recipe.model.load import build_model, describe, restrict
from finetune_trainer.recipe.model.part import parts_of
from finetune_trainer.recipe.model.precision import META, has_flash_attention
from finetune_trainer.recipe.model.vocabulary import CLASSES
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.problems import InputProblem, as_failure

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """The model as Sentence Transformers sees it."""

    modalities: list[str]
    embedding_dimension: int | None
    """None for a reranker."""
    loaded: SentenceTransformer | CrossEncoder
    """Without weights: parameters are on the meta device. Adapters are added and parameters frozen as in training."""
    notes: list[str] = field(default_factory=list)
    """What deserves a look."""

    @property
    def similarity(self) -> Similarity | None:
        """Return how its embeddings are compared; None for a reranker."""
        if isinstance(self.loaded, CrossEncoder):
            return None
        names: dict[str, Similarity] = {str(name).lower(): name for name in get_args(Similarity)}
        return names[str(self.loaded.similarity_fn_name)]


def inspect_model(spec: Model, workspace: Workspace) -> Inspection:
    """Return what the prepared model of `spec` takes and gives.

    Weights stay on the meta device: architecture, processor and module files are read as in training, and the names
    and shapes of the weights are compared, but a model of any size needs next to no memory.

    Raises:
        RunFailure: the library cannot load a model, or the spec asks for what the models have not; all of it at once.

    """
    parts = parts_of(spec, workspace).values()
    _fail([*_modules(spec), *_attention(spec), *(found for part in parts for found in check_folder(part, spec))])
    try:
        model = build_model(spec, workspace, device=META)
    except RunFailure:
        raise
    except pickle.UnpicklingError as error:  # torch advises to run what is in them
        because = "a file of weights is a pickle that holds more than numbers, which could be code and is never run"
        message = f"spec.model.source: {because}; save {_sources(spec)} as safetensors"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message) from error
    except Exception as error:  # whatever the library's reading of foreign files raises
        message = f"spec.model.source: Sentence Transformers cannot load {_sources(spec)}: {one_line(error)[:600]}"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message) from error
    problems = [
        *check_outputs(model, spec),
        *check_positions(model, spec),
        # Texts are counted with the tokenizers, which have to be usable.
        *(list(check_tokens(model, path="spec.model.source", source=_sources(spec))) or check_prompts(model, spec)),
        *(check_lora(model, spec.lora) if spec.lora else []),
    ]
    if not problems:
        restrict(model, spec)
    _fail([*problems, *check_freeze(model, spec)])
    found = describe(model, revision=None)
    _log.info(
        "model inspected", extra={"modalities": found.modalities, "embedding_dimension": found.embedding_dimension}
    )
    return Inspection(
        modalities=found.modalities,
        embedding_dimension=found.embedding_dimension,
        loaded=model,
        notes=[*prompt_notes(model), *token_notes(model, path="spec.model.source", source=_sources(spec))],
    )


def _modules(spec: Model) -> Iterator[InputProblem]:
    for problem in check_modules(spec, {name: module_signature(name) for name in CLASSES}):
        yield InputProblem(Reason.INVALID_ARGUMENT, str(problem))


def _attention(spec: Model) -> Iterator[InputProblem]:
    if spec.attention == "flash_attention_2" and not has_flash_attention():
        because = "flash_attn is not installed in the trainer image"
        message = (
            f"spec.model.attention: flash_attention_2 is wrong because {because}; use auto, or an image that has it"
        )
        yield InputProblem(Reason.UNSUPPORTED_MODEL, message)


def _sources(spec: Model) -> str:
    return ", ".join(route.source for route in spec.router.routes.values()) if spec.router else str(spec.source)


def _fail(problems: list[InputProblem]) -> None:
    if problems:
        raise as_failure(problems)
