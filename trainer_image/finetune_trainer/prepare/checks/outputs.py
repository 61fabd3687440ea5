"""Whether each module of a model finds what it reads, and whether the last gives what the kind of model needs."""

from collections.abc import Iterator, Sequence

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
)
from torch import nn

from finetune_api.losses import Kind
from finetune_api.model import Model
from finetune_api.reasons import Reason
from finetune_trainer.prepare.checks.routes import check_routes
from finetune_trainer.recipe.model.chat_template import pair_failure
from finetune_trainer.workspace.problems import InputProblem

EMBEDDING = "sentence_embedding"
SCORES = "scores"


def check_outputs(model: SentenceTransformer | CrossEncoder, spec: Model) -> list[InputProblem]:
    """Return every listed module that reads what nothing before it makes, and what is missing at the end."""
    problems = [found for path, modules in _lists(model, spec).items() for found in _chain(path, modules, spec.kind)]
    if problems:
        return problems
    if isinstance(model, CrossEncoder):
        return list(_reranker(model, spec))
    if model.get_embedding_dimension() is None:
        return [_unsupported(f"spec.model.source: {spec.source} yields no single embedding; use an embedding model")]
    return check_routes(model, spec)


def _lists(model: SentenceTransformer | CrossEncoder, spec: Model) -> dict[str, list[nn.Module]]:
    """Return the modules that the spec lists, by their field path; what a library saved is known to work."""
    if spec.router is None:
        return {"spec.model": list(model)} if spec.modules else {}
    routes = {name: list(route) for name, route in model[0].sub_modules.items()}
    return {f"spec.model.router.routes.{name}": routes[name] for name, one in spec.router.routes.items() if one.modules}


def _chain(path: str, modules: Sequence[nn.Module], kind: Kind) -> Iterator[InputProblem]:
    made, end = set[str](), SCORES if kind == "Reranker" else EMBEDDING
    for index, module in enumerate(modules):
        wanted, gives = _reads(module), _makes(module)
        if wanted is not None and wanted not in made:
            name, has = type(module).__name__, ", ".join(sorted(made)) or "nothing"
            because = f"{name} reads {wanted}, but the modules before it make {has}"
            yield _unsupported(f"{path}.modules[{index}]: is wrong because {because}; put in what makes it")
            return
        made |= gives
    if end not in made:
        what = "scores of pairs" if end == SCORES else "single embeddings"
        fix = (
            "end with LogitScore, or with Dense and module_output_name scores"
            if end == SCORES
            else "add Pooling, or use an embedding model"
        )
        yield _unsupported(f"{path}.modules: they give {', '.join(sorted(made))} and no {what}; {fix}")


def _reads(module: nn.Module) -> str | None:
    if isinstance(module, Dense | Normalize | LogitScore):
        return str(module.module_input_name)
    if isinstance(module, LayerNorm):
        return EMBEDDING
    return "token_embeddings" if isinstance(module, Pooling) else None


def _makes(module: nn.Module) -> set[str]:
    if isinstance(module, Transformer | Dense | Normalize):
        return {str(module.module_output_name)}
    if isinstance(module, LogitScore):
        return {SCORES}
    return {EMBEDDING} if isinstance(module, Pooling | StaticEmbedding) else set()


def _reranker(model: CrossEncoder, spec: Model) -> Iterator[InputProblem]:
    if spec.num_labels not in (None, model.num_labels):
        because = f"the modules give {model.num_labels}"
        message = f"spec.model.numLabels: {spec.num_labels} is wrong because {because}; change one of them"
        yield InputProblem(Reason.INVALID_ARGUMENT, message)
    failure = pair_failure(model)
    if failure is not None:
        fix = "give a template that renders the roles query and document in spec.model.processorKwargs.chat_template"
        yield _unsupported(f"spec.model.source: the chat template cannot carry a pair ({failure}); {fix}")


def _unsupported(message: str) -> InputProblem:
    return InputProblem(Reason.UNSUPPORTED_MODEL, message)
