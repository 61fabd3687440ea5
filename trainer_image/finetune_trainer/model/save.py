"""Writes the model as users load it."""

from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer

from finetune_trainer.model.adapters import merged


def save_model(model: SentenceTransformer | CrossEncoder, folder: Path) -> None:
    """Write the model into `folder`, for SentenceTransformer or CrossEncoder to load without anything else.

    Adapters are merged into copies of the weights; the model in memory stays as it is. The library's card is left
    out, because it would hold rows of data.
    """
    with merged(model):
        model.save_pretrained(str(folder), create_model_card=False)
