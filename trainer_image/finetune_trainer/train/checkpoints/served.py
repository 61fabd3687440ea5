"""What servers read of a text model and its libraries write no more, added to the folder that they have saved.

Text Embeddings Inference (TEI) 1.9.3 does not start where one of these is missing, and vLLM before it knew Sentence
Transformers 6 found neither the pooling nor the longest text. Both libraries read the older names as what they mean.
https://github.com/huggingface/text-embeddings-inference/blob/v1.9.3/router/src/lib.rs (STConfig, PoolConfig)
https://github.com/huggingface/text-embeddings-inference/blob/v1.9.3/backends/candle/src/models/modernbert.rs
https://github.com/vllm-project/vllm/blob/v0.18.0/vllm/transformers_utils/config.py (get_pooling_config,
get_sentence_transformer_tokenizer_config)
"""

import json
from pathlib import Path
from typing import Any

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from finetune_trainer.recipe.model.tokenizers import limit, num_positions

#: Families of TEI (backends/candle/src/lib.rs, Config), less Gemma, which it cannot read as Transformers 5 writes it.
FAMILIES = frozenset(
    {
        *(
            "bert",
            "camembert",
            "deberta-v2",
            "distilbert",
            "modernbert",
            "mpnet",
            "nomic_bert",
            "roberta",
            "xlm-roberta",
        ),
        *("llama", "mistral", "qwen2", "qwen3"),
    }
)
_TASKS = frozenset({"feature-extraction", "sequence-classification"})
#: Ways of pooling that TEI has, as Sentence Transformers called them before version 6.
_POOLING = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "lasttoken": "pooling_mode_lasttoken"}


def add_for_servers(model: SentenceTransformer | CrossEncoder, folder: Path) -> None:
    """State in `folder` how long texts may be and how tokens become one embedding; nothing for what TEI cannot load."""
    transformer = model[0]
    if not isinstance(transformer, Transformer) or transformer.transformer_task not in _TASKS:
        return
    config = transformer.model.config
    if config.model_type not in FAMILIES or (length := limit(transformer)) is None:
        return
    length = min(length, num_positions(transformer.model) or length)
    lower = {"max_seq_length": length, "do_lower_case": transformer.do_lower_case}
    _add(folder / Transformer.config_file_name, lower)
    if config.model_type == "modernbert":
        _add(folder / "config.json", _older_modernbert(config))
    pooling = model[1] if len(model) > 1 else None
    if isinstance(pooling, Pooling) and pooling.pooling_mode in _POOLING:
        _add(folder / "1_Pooling" / "config.json", {old: new == pooling.pooling_mode for new, old in _POOLING.items()})


def _older_modernbert(config: Any) -> dict[str, Any]:  # noqa: ANN401 - its attributes are not typed
    """Return the layers and rotations as Transformers 4 named them; nothing of those that it had no names for."""
    layers, ropes = config.layer_types, config.rope_parameters
    every = next((n for n, kind in enumerate(layers) if n and kind == "full_attention"), len(layers))
    if layers != ["sliding_attention" if n % every else "full_attention" for n in range(len(layers))]:
        return {}
    if any(rope["rope_type"] != "default" for rope in ropes.values()):
        return {}
    return {
        "global_attn_every_n_layers": every,
        "global_rope_theta": ropes["full_attention"]["rope_theta"],
        "local_rope_theta": ropes["sliding_attention"]["rope_theta"],
    }


def _add(file: Path, fields: dict[str, Any]) -> None:
    file.write_text(json.dumps(json.loads(file.read_bytes()) | fields, indent=2) + "\n", encoding="utf-8")
