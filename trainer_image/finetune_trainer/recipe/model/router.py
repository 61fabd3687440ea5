"""Encoders of their own for queries and documents, or for texts and images."""

from collections.abc import Mapping, Sequence

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router

from finetune_api.model import Model
from finetune_trainer.recipe.model.encoders import load_encoder
from finetune_trainer.recipe.model.part import Part
from finetune_trainer.recipe.model.prompts import prompts_by_role
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.manifest import Column
from finetune_trainer.workspace.problems import InputProblem, as_failure


def load_router(parts: Mapping[str, Part], *, by_task: bool) -> SentenceTransformer:
    """Return a model of one encoder per part, which takes inputs by their part in the search, or by what they are."""
    encoders = load_encoders(parts)
    routes = {name: list(encoder.children()) for name, encoder in encoders.items()}
    prompts = {name: prompts_by_role(encoder.prompts) for name, encoder in encoders.items()}
    device = str(next(iter(parts.values())).device)
    if by_task:
        router = Router.for_query_document(query_modules=routes["query"], document_modules=routes["document"])
        prompts_kept = {role: prompts[role][role] for role in ("query", "document")}
    else:
        # Without a default, an input that is neither text nor image is refused instead of taken for a text.
        mappings = {(None, name): name for name in routes}
        router = Router(routes, default_route=None, allow_empty_key=False, route_mappings=mappings)
        prompts_kept = prompts["text"]
    return SentenceTransformer(modules=[router], device=device, prompts=prompts_kept, local_files_only=True)


def load_encoders(parts: Mapping[str, Part]) -> dict[str, SentenceTransformer]:
    """Return the encoder of each part; raises one RunFailure for all that cannot be loaded."""
    encoders, problems = {}, []
    for name, part in parts.items():
        try:
            encoders[name] = load_encoder(part)
        except RunFailure as failure:
            problems.append(InputProblem(failure.reason, failure.message))
    if problems:
        raise as_failure(problems)
    return encoders


def router_mapping(spec: Model, columns: Sequence[Column]) -> dict[str, str]:
    """Return the route of each column, as the library's training arguments want it; empty without a router."""
    if spec.router is None:
        return {}
    if spec.router.by == "Modality":
        return {column.name: column.modality for column in columns}
    return {column.name: "query" if column.name == "query" else "document" for column in columns}
