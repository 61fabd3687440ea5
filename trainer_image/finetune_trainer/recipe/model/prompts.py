"""The instructions that are put before what is encoded."""

from collections.abc import Mapping, Sequence

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.model import Prompts

#: Names under which a model may keep its document prompt; the order is the library's, in `encode_document`.
DOCUMENT_PROMPT_NAMES = ("document", "passage", "corpus")


def set_prompts(model: SentenceTransformer | CrossEncoder, prompts: Prompts) -> None:
    """Give the model the prompts that are stated. A reranker has one for the pair, which it uses by itself."""
    given = {"query": prompts.query, "document": prompts.document}
    stated = {name: prompt for name, prompt in given.items() if prompt is not None}
    model.prompts = {**model.prompts, **stated}
    if isinstance(model, CrossEncoder) and "query" in stated:
        model.default_prompt_name = "query"


def prompts_by_role(prompts: Mapping[str, str]) -> dict[str, str]:
    """Return the prompts of query and document, as encode_query and encode_document choose them."""
    document = next((prompts[name] for name in DOCUMENT_PROMPT_NAMES if name in prompts), "")
    return {"query": prompts.get("query", ""), "document": document}


def encoding_prompt(model: SentenceTransformer | CrossEncoder, names: Sequence[str] = ()) -> str | None:
    """Return what the library puts before what it encodes: the first of these prompts, or the model's default one."""
    return next((model.prompts[name] for name in (*names, model.default_prompt_name) if name in model.prompts), None)


def prompts_of(model: SentenceTransformer | CrossEncoder) -> dict[str, str]:
    """Return the prompts of query and document that the model uses by itself; training has to be told them.

    A reranker puts one prompt before a pair: it is that of the query here.
    """
    if isinstance(model, CrossEncoder):
        return {"query": model.prompts.get(model.default_prompt_name, ""), "document": ""}
    return prompts_by_role(model.prompts)
