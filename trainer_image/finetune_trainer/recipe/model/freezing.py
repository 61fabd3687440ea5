"""Which parameters are trained."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.model import Model


def freeze(model: SentenceTransformer | CrossEncoder, spec: Model) -> None:
    """Take the parameters out of training that the spec names, by pattern or by route."""
    patterns = frozen_patterns(spec)
    for name, parameter in model.named_parameters():
        if any(fnmatchcase(name, pattern) for _, pattern in patterns):
            parameter.requires_grad_(requires_grad=False)


def frozen_patterns(spec: Model) -> list[tuple[str, str]]:
    """Return field path and pattern of all that is frozen."""
    return [*((f"spec.model.freeze[{index}]", pattern) for index, pattern in enumerate(spec.freeze)), *_routes(spec)]


def _routes(spec: Model) -> Iterator[tuple[str, str]]:
    for name, route in spec.router.routes.items() if spec.router else ():
        if route.freeze:
            yield f"spec.model.router.routes.{name}.freeze", f"0.sub_modules.{name}.*"
