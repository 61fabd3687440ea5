"""A complete Qwen3-VL of half a million parameters, built in place from nothing.

It has everything that the big one has (text, image and video processors, chat template, its own
tokenizer, vision tower with deep-stack layers, multimodal rotary positions) and is untrained: whatever it
retrieves after finetuning, it learnt there.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from .pages import build_questions, split_pages

EMBEDDING_DIMENSION = 64
VOCABULARY_SIZE = 512
PATCH_PIXELS = 16
MERGE_SIZE = 2
TEMPORAL_PATCH_SIZE = 2

PADDING = "<|endoftext|>"
END_OF_MESSAGE = "<|im_end|>"
SPECIAL_TOKENS = (
    PADDING,
    "<|im_start|>",
    END_OF_MESSAGE,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

MODEL_CARD = """\
---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: apache-2.0
---

# Tiny Qwen3-VL

The architecture of Qwen3-VL at half a million parameters, untrained, for tests and demonstrations of finetuning.
It embeds text, images and videos into {dimension} dimensions.
"""


def build(folder: Path) -> None:
    """Write the model of the pages example; its tokenizer knows the words of the questions for training."""
    questions = [question for page in split_pages().train for question in build_questions(page)]
    build_tiny_qwen3_vl(folder, sentences=questions)


def build_tiny_qwen3_vl(folder: Path, *, sentences: Iterable[str], seed: int = 0) -> None:
    """Write an untrained multimodal embedding model that `SentenceTransformer(folder)` loads.

    Equal arguments give equal bytes. Embeddings have 64 dimensions and length 1.

    Args:
        folder: made if missing; files of an earlier build are overwritten.
        sentences: text from which the tokenizer learns its words; other words become bytes.
        seed: of the weights; the global generator of torch is left as it was.

    """
    tokenizer = build_tokenizer(sentences)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as checkpoint:
        torch.manual_seed(seed)
        Qwen3VLModel(build_config(tokenizer)).save_pretrained(checkpoint)
        build_processor(tokenizer).save_pretrained(checkpoint)
        modules = [Transformer(checkpoint), Pooling(EMBEDDING_DIMENSION, "mean"), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    (folder / "README.md").write_text(MODEL_CARD.format(dimension=EMBEDDING_DIMENSION))


def build_tiny_qwen3_vl_checkpoint(
    folder: Path, *, sentences: Iterable[str], seed: int = 0, chat_template: str = CHAT_TEMPLATE
) -> None:
    """Write an untrained Qwen3-VL as its makers publish it: a generative model that Sentence Transformers never saved.

    Equal arguments give equal bytes. It is what a reranker is made from, with its language model head or without.

    Args:
        folder: made if missing; files of an earlier build are overwritten.
        sentences: text from which the tokenizer learns its words; other words become bytes.
        seed: of the weights; the global generator of torch is left as it was.
        chat_template: renders messages; the default renders every role alike.

    """
    tokenizer = build_tokenizer(sentences)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        Qwen3VLForConditionalGeneration(build_config(tokenizer)).save_pretrained(folder)
    processor = build_processor(tokenizer)
    processor.chat_template = chat_template
    processor.save_pretrained(folder)


def build_tokenizer(sentences: Iterable[str]) -> Qwen2TokenizerFast:
    """Return a byte-level BPE tokenizer with Qwen's special tokens whose words come from `sentences`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_MESSAGE,
        pad_token=PADDING,
        additional_special_tokens=list(SPECIAL_TOKENS),
    )


def build_config(tokenizer: Qwen2TokenizerFast) -> Qwen3VLConfig:
    """Return the configuration of two vision and two text layers of width 64."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": EMBEDDING_DIMENSION,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [4, 2, 2],  # time, height, width: adds up to half of head_dim
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "patch_size": PATCH_PIXELS,
        "spatial_merge_size": MERGE_SIZE,
        "temporal_patch_size": TEMPORAL_PATCH_SIZE,
        "out_hidden_size": EMBEDDING_DIMENSION,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0, 1],
    }
    token_ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return Qwen3VLConfig(text_config=text | ends, vision_config=vision, tie_word_embeddings=True, **token_ids, **ends)


def build_processor(tokenizer: Qwen2TokenizerFast) -> Qwen3VLProcessor:
    """Return the processor of text, images (32 x 32 to 256 x 256 pixels) and videos."""
    patches = {"patch_size": PATCH_PIXELS, "temporal_patch_size": TEMPORAL_PATCH_SIZE, "merge_size": MERGE_SIZE}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches, min_pixels=32 * 32, max_pixels=256 * 256),
        video_processor=Qwen3VLVideoProcessor(**patches),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )
