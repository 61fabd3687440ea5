"""The Hub token of this machine's user, handed to the roles that may have it as a file, as in pods."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import get_token
from huggingface_hub.errors import OIDCError

from finetune_api import keys
from finetune_api.contract import Role
from finetune_api.reasons import Reason
from finetune_trainer.workspace.failures import RunFailure

_VARIABLES = {
    Role.PREFLIGHT: keys.ENV_WRITE_TOKEN_FILE,
    Role.PREPARE: keys.ENV_READ_TOKEN_FILE,
    Role.PUBLISH: keys.ENV_WRITE_TOKEN_FILE,
}


def require_token() -> None:
    """Fail with TokenRefused if this machine has no token to publish with."""
    if find_token() is None:
        message = (
            "publish: there is no Hub token on this machine; set HF_TOKEN, run `hf auth login`, or add --no-publish"
        )
        raise RunFailure(Reason.TOKEN_REFUSED, message)


def find_token() -> str | None:
    """Return the token of HF_TOKEN or of `hf auth login`, None if there is none."""
    try:
        return get_token()
    except OIDCError as error:
        raise RunFailure(
            Reason.TOKEN_REFUSED, f"HF_OIDC_RESOURCE: the Hub gives no token ({error}); unset it"
        ) from error


@contextlib.contextmanager
def token_file(role: Role) -> Iterator[dict[str, str]]:
    """Give the environment that names the token's file to `role`; training gets none.

    The token is asked for anew each time: one of a browser login may have been renewed since.
    """
    token = find_token() if role in _VARIABLES else None
    if token is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        file = Path(folder) / "token"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as writable:
            writable.write(token)
        yield {_VARIABLES[role]: str(file)}
