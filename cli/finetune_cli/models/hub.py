"""The Hub as this machine's user sees it: HF_ENDPOINT, and the token of HF_TOKEN or of `hf auth login`."""

import contextlib
import logging
import os
from collections.abc import Iterator

from huggingface_hub import get_token

from finetune_api.reasons import Reason
from finetune_cli.models.refusing import ModelError
from finetune_trainer.hub.client import Api, connect
from finetune_trainer.prepare.fetch.snapshot import Wanted, told
from finetune_trainer.workspace.failures import RunFailure
from finetune_trainer.workspace.settings import DEFAULT_HUB

_client_log = logging.getLogger("huggingface_hub")


def model_at(repository: str, commit: str) -> Wanted:
    """Return how the Hub is asked for a model."""
    return Wanted(repository, "model", commit, Reason.MODEL_NOT_FOUND)


@contextlib.contextmanager
def asking(wanted: Wanted) -> Iterator[Api]:
    """Yield a client, which warns of no try that it repeats; what goes wrong inside comes out as ModelError."""
    endpoint = os.environ.get("HF_ENDPOINT", DEFAULT_HUB).rstrip("/")
    before = _client_log.level
    _client_log.setLevel(logging.ERROR)
    try:
        with told(wanted):
            yield connect(endpoint, token=get_token())
    except RunFailure as failure:
        text = f"{failure}; here the Hub is {endpoint} (HF_ENDPOINT), the token that of HF_TOKEN or of `hf auth login`"
        raise ModelError(text, failure.exit_code) from failure
    finally:
        _client_log.setLevel(before)
