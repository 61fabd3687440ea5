"""Whether the tokens of a model, a guide or a miner go with its weights. Imports torch."""

from collections.abc import Iterator
from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import nn

from finetune_api.reasons import Reason
from finetune_trainer.recipe.model.tokenizers import counts_from_the_left, pads_with_end, position_tables, readers
from finetune_trainer.workspace.problems import InputProblem

#: How configurations begin the names of tokens that stand for media: their rows are never looked up.
_MEDIA = ("image_token", "video_token", "audio_token")


def check_tokens(model: SentenceTransformer | CrossEncoder, *, path: str, source: str) -> Iterator[InputProblem]:
    """Yield what would end the training in the batch that it comes in.

    Args:
        model: on any device; its tokenizers are complete as far as they can be.
        path: of the field that names it, as spec.model.source.
        source: what that field says.

    """
    for module in readers(model):
        if module.tokenizer.pad_token is None:
            because = "has neither a padding token, without which texts of different lengths make no batch, nor an end"
            fix = "name one of its tokens as pad_token in processorKwargs, or save it with one"
            yield InputProblem(Reason.UNSUPPORTED_MODEL, f"{path}: {source} {because} token to take for it; {fix}")
    for vocabulary, num_rows in _tables(model):
        token = max(vocabulary, key=lambda name: vocabulary[name])
        if vocabulary[token] >= num_rows:
            because = (
                f"the tokenizer of {source} counts its tokens up to {vocabulary[token]} ({token}), and there are "
                f"{num_rows} embeddings, numbered from 0"
            )
            fix = "resize the embeddings (resize_token_embeddings) and save the model, or take the tokens out"
            yield InputProblem(Reason.UNSUPPORTED_MODEL, f"{path}: {because}; {fix}")


def token_notes(model: SentenceTransformer | CrossEncoder, *, path: str, source: str) -> list[str]:
    """Return what deserves a look: an end token that pads, and embeddings that depend on their neighbours."""
    notes = []
    for module in readers(model):
        tokenizer = module.tokenizer
        if pads_with_end(module):
            notes.append(
                f"{path}: {source} has no padding token; its end token, {tokenizer.pad_token}, is taken for it"
            )
        if tokenizer.padding_side == "left" and any(map(counts_from_the_left, position_tables(module.model))):
            because = (
                "pads on the left and counts positions from there, so that an embedding depends on the texts beside"
            )
            notes.append(f"{path}: {source} {because} it; set padding_side: right in processorKwargs")
    return list(dict.fromkeys(notes))


def _tables(model: nn.Module) -> Iterator[tuple[dict[str, int], int]]:
    """Yield the vocabulary of each tokenizer, but for media, and the rows of the embeddings that it counts."""
    for module in readers(model):
        table = _embeddings(module.model)
        media = {value for name, value in module.model.config.to_dict().items() if name.startswith(_MEDIA)}
        if table is not None:
            vocabulary = {name: number for name, number in module.tokenizer.get_vocab().items() if number not in media}
            yield vocabulary, table.num_embeddings
    for static in model.modules():
        if isinstance(static, StaticEmbedding):
            yield static.tokenizer.get_vocab(), static.embedding.num_embeddings


def _embeddings(backbone: Any) -> nn.Embedding | None:  # noqa: ANN401 - models of all architectures
    """Return the embeddings of tokens; those of a model of two towers belong to the one for texts."""
    try:
        table = getattr(backbone, "text_model", backbone).get_input_embeddings()
    except NotImplementedError:
        return None
    return table if isinstance(table, nn.Embedding) else None
