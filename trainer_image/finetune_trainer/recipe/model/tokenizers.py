"""What a tokenizer leaves open and training needs: a padding token, and where texts end for a model with an end.

Transformers look positions up in a table of learned ones (BERT, CLIP and their kin) or compute them (rotary, T5).
A table has an end, behind which training dies in the first long batch.
"""

from collections.abc import Iterator
from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch import nn

#: Tokenizers say that there is no limit with a number of 31 digits.
NO_LIMIT = 2**30
_TABLES = ("position_embeddings", "position_embedding", "embed_positions", "wpe")
#: Parts of the names of layers that see no text.
_NOT_TEXT = ("vision", "visual", "image", "audio")


def complete_tokenizers(model: SentenceTransformer | CrossEncoder) -> None:
    """Pad with the end token where there is no padding token, and cut texts at the last position that there is."""
    for module in readers(model):
        if module.tokenizer.pad_token is None and module.tokenizer.eos_token is not None:
            module.tokenizer.pad_token = module.tokenizer.eos_token
        config = module.model.config.get_text_config()
        if isinstance(model, CrossEncoder) and getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = module.tokenizer.pad_token_id  # by which decoders that classify find the last token
        if limit(module) is None and (most := num_positions(module.model)) is not None:
            module.max_seq_length = most


def readers(model: nn.Module) -> Iterator[Transformer]:
    """Yield the modules that read texts with a tokenizer."""
    for module in model.modules():
        if isinstance(module, Transformer) and module.tokenizer is not None:
            yield module


def limit(module: Any) -> int | None:  # noqa: ANN401 - of the library, the model or a module
    """Return after how many tokens inputs are cut, None if never."""
    length = getattr(module, "max_seq_length", None)
    return length if isinstance(length, int) and length < NO_LIMIT else None


def pads_with_end(module: Transformer) -> bool:
    """Say whether the end token is taken for padding because the tokenizer names none."""
    tokenizer = module.tokenizer
    return tokenizer.init_kwargs.get("pad_token") is None and tokenizer.pad_token == tokenizer.eos_token is not None


def num_positions(backbone: nn.Module) -> int | None:
    """Return how many tokens a text may have for the tables of positions, None if there are none."""
    return min((table.num_embeddings - _unused(table) for table in position_tables(backbone)), default=None)


def position_tables(backbone: nn.Module) -> list[nn.Embedding]:
    """Return the tables in which the positions of a text are looked up."""
    return [
        module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Embedding)
        and name.rpartition(".")[2] in _TABLES
        and not any(part in name for part in _NOT_TEXT)
    ]


def counts_from_the_left(table: nn.Embedding) -> bool:
    """Say whether the first place of a row is position 0, padding or not; RoBERTa and OPT count real tokens alone."""
    return _unused(table) == 0


def _unused(table: nn.Embedding) -> int:
    """Return the places before the first position: RoBERTa's are those up to the padding token, OPT's an offset."""
    offset = getattr(table, "offset", 0)
    return int(offset) if offset else 0 if table.padding_idx is None else table.padding_idx + 1
