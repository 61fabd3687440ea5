"""The second model that a guided loss asks which negatives are false."""

import torch
from sentence_transformers import SentenceTransformer

from finetune_api.objective import Guide
from finetune_api.reasons import Reason
from finetune_api.workspace import Workspace
from finetune_trainer.recipe.model.refusal import adapter_without_weights
from finetune_trainer.recipe.model.tokenizers import complete_tokenizers
from finetune_trainer.workspace.causes import one_line
from finetune_trainer.workspace.failures import RunFailure


def load_guide(guide: Guide, workspace: Workspace, *, device: torch.device) -> SentenceTransformer:
    """Return the guide on `device`, frozen. On the meta device it has no weights.

    Raises:
        RunFailure: the library cannot load it.

    """
    place = {"model_kwargs": {"device_map": "meta"}} if device.type == "meta" else {"device": str(device)}
    folder = workspace.other_model(guide.source, guide.revision)
    if because := adapter_without_weights(folder):
        raise RunFailure(Reason.UNSUPPORTED_MODEL, f"training.loss.guide.source: {guide.source} {because}")
    try:
        model = SentenceTransformer(str(folder), local_files_only=True, **place)
    except (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError) as error:
        message = f"training.loss.guide.source: Sentence Transformers cannot load {guide.source}: {one_line(error)}"
        raise RunFailure(Reason.UNSUPPORTED_MODEL, message) from error
    complete_tokenizers(model)
    return model.requires_grad_(requires_grad=False).eval()
