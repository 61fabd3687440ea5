"""An embedding model or a reranker from one source."""

import json
from collections.abc import Sequence
from dataclasses import replace

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_api.model import Module
from finetune_trainer.recipe.model.chat_template import let_pairs_through
from finetune_trainer.recipe.model.compose import compose
from finetune_trainer.recipe.model.part import Part
from finetune_trainer.recipe.model.precision import META
from finetune_trainer.recipe.model.refusal import told_as
from finetune_trainer.recipe.model.tokenizers import complete_tokenizers
from finetune_trainer.recipe.model.transformer import key_of, output_name


def load_encoder(part: Part) -> SentenceTransformer:
    """Return the model that embeds: as it was saved, as the library detects it, or of the modules that are listed."""
    modules = part.modules or (default_modules(part) if part.modalities else ())
    if modules:
        listed = compose(replace(part, modules=modules), scores=False)
        model = SentenceTransformer(modules=listed, device=str(part.device), local_files_only=True)
    else:
        with told_as(f"{part.path}.source: Sentence Transformers cannot load {part.source}"):
            model = SentenceTransformer(
                str(part.folder),
                device=None if part.device == META else str(part.device),
                local_files_only=True,
                model_kwargs=part.weights,
                processor_kwargs=part.processor,
            )
    complete_tokenizers(model)
    return model


def load_reranker(part: Part) -> CrossEncoder:
    """Return the model that scores pairs: as it was saved, a text model with a new head, or of the modules listed."""
    if part.modules:
        listed = compose(part, scores=True)
        model = CrossEncoder(modules=listed, device=str(part.device), local_files_only=True)
    else:
        saying = (
            f"{part.path}.source: Sentence Transformers cannot load {part.source} as a reranker (a vision-language "
            "model needs modules: Transformer with transformer_task any-to-any and LogitScore)"
        )
        with told_as(saying):
            model = CrossEncoder(
                str(part.folder),
                device=None if part.device == META else str(part.device),
                local_files_only=True,
                model_kwargs=part.weights,
                processor_kwargs=part.processor,
                num_labels=part.num_labels,
            )
    complete_tokenizers(model)
    let_pairs_through(model)
    return model


def default_modules(part: Part) -> Sequence[Module]:
    """Return what the library puts around a model that it has not saved; it does so only with modalities it detected.

    See `SentenceTransformer._load_default_modules`.
    """
    transformer = Module(type="Transformer")
    config = {key_of(name): entry for name, entry in part.modalities.items()}
    if output_name(config, task="feature-extraction") == "sentence_embedding":
        return (transformer,)
    settings = json.loads((part.folder / "config.json").read_bytes())
    architecture = (settings.get("architectures") or [""])[0]
    causal = architecture.endswith("ForCausalLM") and settings.get("is_causal", True)
    return (transformer, Module(type="Pooling", arguments={"pooling_mode": "lasttoken" if causal else "mean"}))
