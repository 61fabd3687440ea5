"""Whether the encoders of a router go together, and whether users could load them again."""

from collections.abc import Iterator, Mapping, Sequence

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Router, StaticEmbedding
from torch import nn

from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.compose import size_after
from finetune_trainer.workspace.problems import InputProblem

_ROUTES = "spec.model.router.routes"
Routes = Mapping[str, Sequence[nn.Module]]


def check_routes(model: SentenceTransformer, spec: Model) -> list[InputProblem]:
    """Return what is wrong with the encoders of a router; nothing without one."""
    if not isinstance(model[0], Router):
        return []
    routes = {name: list(route) for name, route in model[0].sub_modules.items()}
    if spec.router is None:
        return list(_precision(routes, spec))
    return [*_sizes(routes), *_modalities(routes, by=spec.router.by), *_precision(routes, spec)]


def _sizes(routes: Routes) -> Iterator[InputProblem]:
    sizes = {name: size_after(route) for name, route in routes.items()}
    if len(set(sizes.values())) > 1:
        given = ", ".join(f"{name} {size}" for name, size in sizes.items())
        yield _invalid(f"{_ROUTES}: their embeddings differ in size ({given}); add Dense with out_features")


def _modalities(routes: Routes, *, by: str) -> Iterator[InputProblem]:
    takes = {name: list(getattr(route[0], "modalities", ["text"])) for name, route in routes.items()}
    images = any("image" in modalities for modalities in takes.values())
    for name, modalities in takes.items():
        if by == "Modality" and name not in modalities:
            yield _unsupported(f"{_ROUTES}.{name}: its model takes {', '.join(map(str, modalities))} only")
        if images and isinstance(routes[name][0], StaticEmbedding):
            because = "beside a route with images the library would take some texts for names of images"
            yield _unsupported(f"{_ROUTES}.{name}: StaticEmbedding is wrong because {because}; use Transformer")


def _precision(routes: Routes, spec: Model) -> Iterator[InputProblem]:
    if spec.dtype != "float32" and any(list(module.parameters()) for route in routes.values() for module in route[1:]):
        because = "Sentence Transformers would load the modules after a route's Transformer in float32 again"
        yield _invalid(f"spec.model.dtype: {spec.dtype} is wrong because {because}; use float32")


def _invalid(message: str) -> InputProblem:
    return InputProblem(Reason.INVALID_ARGUMENT, message)


def _unsupported(message: str) -> InputProblem:
    return InputProblem(Reason.UNSUPPORTED_MODEL, message)
