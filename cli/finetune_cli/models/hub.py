"""The Hub as this machine's user sees it: HF_ENDPOINT, and the token of HF_TOKEN or of `hf auth login`."""

import contextlib
import os
from collections.abc import Iterator

from huggingface_hub import get_token

from finetune_api.reasons import Reason
from finetune_cli.models.refusing import ModelError
from finetune_trainer.hub.client import Api, connect
from finetune_trainer.prepare.fetch.snapshot import Wanted, told
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.settings import DEFAULT_HUB


def model_at(repository: str, commit: str) -> Wanted:
    """Return how the Hub is asked for a model."""
    return Wanted(repository, "model", commit, Reason.MODEL_NOT_FOUND)


@contextlib.contextmanager
def asking(wanted: Wanted) -> Iterator[Api]:
    """Yield a client; what goes wrong inside comes out as ModelError."""
    try:
        with told(wanted):
            yield connect(os.environ.get("HF_ENDPOINT", DEFAULT_HUB).rstrip("/"), token=get_token())
    except RunFailure as failure:
        text = f"{failure}; here the token is that of HF_TOKEN or of `hf auth login`"
        raise ModelError(text, failure.exit_code) from failure
