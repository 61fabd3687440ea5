"""Which server loads a model, and with which arguments; or why none does. Pure.

By the sources of Text Embeddings Inference (TEI) 1.9.3 and of vLLM; no server was run here. Both know models as older
releases of Sentence Transformers saved them: training adds what TEI does not start without
(finetune_trainer/train/checkpoints/served.py), the way of pooling is stated, and a Dense layer, which they would leave
out without a word, is refused.
https://github.com/huggingface/text-embeddings-inference/blob/v1.9.3/router/src/lib.rs
https://github.com/huggingface/text-embeddings-inference/blob/v1.9.3/backends/src/lib.rs (download_dense_modules)
https://github.com/huggingface/text-embeddings-inference/tree/v1.9.3/backends/candle/src/models
https://docs.vllm.ai/en/v0.18.0/models/pooling_models/
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from finetune_api.contract import ExitCode
from finetune_cli.models.described import Described
from finetune_cli.models.refusing import ModelError

TEI, VLLM = "TEI", "vLLM"
#: What TEI does not start without, beside what every library writes.
_LENGTH = frozenset({"max_seq_length"})
#: Text encoders that TEI has, which needs no accelerator, with what it reads of each.
_OF_TEI: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("bert", "camembert", "distilbert", "mpnet", "roberta", "xlm-roberta"), _LENGTH),
    "modernbert": _LENGTH | {"global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"},
    "nomic_bert": _LENGTH | {"n_embd", "n_inner", "rotary_emb_base"},
}
#: Those of them for which it has no head that scores pairs.
_NO_RERANKER = frozenset({"mpnet", "nomic_bert"})
#: Text encoders of vLLM, and what was made to write or to see.
_OF_VLLM = frozenset(
    {
        *("bert", "modernbert", "roberta", "xlm-roberta"),
        *("gemma3_text", "llama", "mistral", "qwen2", "qwen2_5_vl", "qwen2_vl", "qwen3", "qwen3_vl"),
    }
)
_KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
#: What each calls the ways to make one embedding of many.
_POOLING: Mapping[str, Mapping[str, str]] = {
    TEI: {"cls": "cls", "mean": "mean"},
    VLLM: {"cls": "CLS", "mean": "MEAN", "lasttoken": "LAST"},
}
_LOADERS = {True: "CrossEncoder", False: "SentenceTransformer"}


@dataclass(frozen=True)
class Server:
    """A program that answers requests with a model."""

    name: str
    image: str
    arguments: tuple[str, ...]
    port: int
    needs_accelerator: bool


def choose(model: Described, *, repository: str, commit: str) -> Server:
    """Return the server of a model.

    Raises:
        ModelError: no server loads it as it was trained.

    """
    if (reason := refusal(model)) is not None:
        loader = f'{_LOADERS[model.is_reranker]}("{repository}", revision="{commit}")'
        raise ModelError(f"no server loads {repository}: {reason}; load it with {loader}", ExitCode.UNSUPPORTED_MODEL)
    if _family(model) == TEI:
        pooling = [] if model.is_reranker else [f"--pooling={_POOLING[TEI][model.pooling]}"]
        return Server(
            name=TEI,
            image="ghcr.io/huggingface/text-embeddings-inference:cpu-1.9",
            arguments=(f"--model-id={repository}", f"--revision={commit}", *pooling, "--auto-truncate", "--port=8080"),
            port=8080,
            needs_accelerator=False,
        )
    pooler = json.dumps({"pooling_type": _POOLING[VLLM].get(model.pooling)})
    pooling = [] if model.is_reranker else [f"--pooler-config={pooler}"]
    return Server(
        name=VLLM,
        image="vllm/vllm-openai:v0.18.0",
        arguments=(f"--model={repository}", f"--revision={commit}", "--runner=pooling", *pooling, "--port=8080"),
        port=8080,
        needs_accelerator=True,
    )


def refusal(model: Described) -> str | None:
    """Return why no server loads a model as it was trained, None if one does."""
    return _refusal_of_modules(model) or (
        _refusal_of_reranker(model) if model.is_reranker else _refusal_of_pooling(model)
    )


def _refusal_of_modules(model: Described) -> str | None:
    strange = [name for name in model.modules if name not in _KNOWN_MODULES]
    if "Router" in strange:
        return "it has an encoder for each kind of input (Router), and servers load one"
    if "LogitScore" in strange:
        return "it scores by the tokens that it would write (LogitScore), which is done by Sentence Transformers alone"
    if "Dense" in strange:
        return "servers would leave its Dense layer out, which Sentence Transformers 6 saves under another name"
    if strange:
        return f"they do not have its module {strange[0]}"
    return None if _family(model) is not None else _refusal_of_family(model)


def _refusal_of_family(model: Described) -> str:
    if model.is_reranker and model.model_type in _NO_RERANKER:
        return f"neither TEI nor vLLM has rerankers of type {model.model_type}"
    if missing := sorted(_OF_TEI.get(model.model_type, frozenset()) - model.stated):
        return (
            f"vLLM has no models of type {model.model_type}, and TEI does not start without {', '.join(missing)} in "
            "its configurations; a job that is run once more by this release writes what it can of them"
        )
    return f"neither TEI nor vLLM has models of type {model.model_type or 'that is not stated'}"


def _refusal_of_reranker(model: Described) -> str | None:
    if model.modules != ("Transformer",) or not model.architecture.endswith("ForSequenceClassification"):
        return "its score is made by modules of Sentence Transformers, and not by the transformer itself"
    return f"it gives {model.num_labels} scores per pair, and a rank has one" if model.num_labels > 1 else None


def _refusal_of_pooling(model: Described) -> str | None:
    family = _family(model)
    if model.pooling not in _POOLING[family or TEI]:
        return f"{family} does not make one embedding of many by {model.pooling or 'what it does not state'}"
    return None


def _family(model: Described) -> str | None:
    if model.is_reranker and model.model_type in _NO_RERANKER:
        return None
    if model.model_type in _OF_TEI and model.stated >= _OF_TEI[model.model_type]:
        return TEI
    return VLLM if model.model_type in _OF_VLLM else None


def notes(model: Described) -> list[str]:
    """Return what its users have to know that a server does not do for them."""
    found = []
    if model.has_prompts:
        found.append("send its prompts with each text, as config_sentence_transformers.json has them: servers add none")
    if model.is_compared_by_length and not model.is_reranker:
        found.append(
            "it compares embeddings by their length, too, and servers normalize them; ask for normalize: false"
        )
    return found
