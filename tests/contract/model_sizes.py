"""The true sizes of the models that manifests show: names and shapes of their weights, as their configurations give."""

from math import prod
from typing import Any

from finetune_cli.local.model_files import ModelFiles

VOCABULARY = 151_936
#: What a processor of Qwen3-VL lets through unless it is told otherwise.
QWEN_PROCESSOR = {"size": {"shortest_edge": 4096, "longest_edge": 1_310_720}}


def qwen3_vl(*, width: int, layers: int, tied: bool, vision: dict[str, int], vision_parameters: int) -> ModelFiles:
    """Return a Qwen3-VL; its layers are wide by the same proportions in all sizes, 8 heads of 128 hold keys."""
    inner, keys, head = 3 * width, 1024, 128
    layer = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, width),
        "self_attn.q_norm": (head,),
        "self_attn.k_norm": (head,),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"language_model.layers.{number}.{name}.weight": shape
        for number in range(layers)
        for name, shape in layer.items()
    }
    shapes |= {"language_model.embed_tokens.weight": (VOCABULARY, width), "language_model.norm.weight": (width,)}
    shapes |= {} if tied else {"lm_head.weight": (VOCABULARY, width)}
    shapes |= {"visual": (vision_parameters,)}
    config = {
        "text_config": {"vocab_size": VOCABULARY, "hidden_size": width, "num_hidden_layers": layers},
        "vision_config": {**vision, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2},
    }
    return files_of(config, shapes, bytes_each=2, processor=QWEN_PROCESSOR)


def files_of(
    config: dict[str, Any],
    shapes: dict[str, tuple[int, ...]],
    *,
    bytes_each: int,
    processor: dict[str, Any] | None = None,
    max_seq_length: int | None = None,
) -> ModelFiles:
    """Return what the files of a model with these weights say."""
    stored = bytes_each * sum(prod(shape) for shape in shapes.values())
    return ModelFiles(config, processor or {}, shapes, stored, max_seq_length)


QWEN_2B = qwen3_vl(
    width=2048, layers=28, tied=True, vision={"hidden_size": 1024, "depth": 24}, vision_parameters=406_957_056
)
QWEN_8B = qwen3_vl(
    width=4096, layers=36, tied=False, vision={"hidden_size": 1152, "depth": 27}, vision_parameters=576_388_336
)
MINILM = files_of(
    {"vocab_size": 30_522, "hidden_size": 384, "num_hidden_layers": 6},
    {"all": (22_713_216,)},
    bytes_each=4,
    max_seq_length=256,
)
VIT = files_of(
    {"hidden_size": 768, "num_hidden_layers": 12, "image_size": 224, "patch_size": 16},
    {"all": (86_389_248,)},
    bytes_each=4,
)
#: Made from scratch by examples/inputs; they differ by what is around the model.
TINY_QWEN = files_of(
    {
        "text_config": {"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2},
        "vision_config": {"hidden_size": 64, "depth": 2, "patch_size": 16, "spatial_merge_size": 2},
    },
    {"all": (500_000,)},
    bytes_each=4,
    processor={"size": {"shortest_edge": 4096, "longest_edge": 65_536}},
)
TINY_VIT = files_of(
    {"hidden_size": 128, "num_hidden_layers": 4, "image_size": 128, "patch_size": 16},
    {"all": (1_000_000,)},
    bytes_each=4,
)
SIZES = {
    "hf://Qwen/Qwen3-VL-2B-Instruct": QWEN_2B,
    "hf://Qwen/Qwen3-VL-Embedding-2B": QWEN_2B,
    "hf://Qwen/Qwen3-VL-Embedding-8B": QWEN_8B,
    "hf://google/vit-base-patch16-224-in21k": VIT,
    "hf://sentence-transformers/all-MiniLM-L6-v2": MINILM,
    "hf://demo/all-minilm-l6-v2": MINILM,
    "hf://demo/tiny-qwen3-vl": TINY_QWEN,
    "hf://demo/tiny-qwen3-vl-base": TINY_QWEN,
    "hf://demo/tiny-vit": TINY_VIT,
}
