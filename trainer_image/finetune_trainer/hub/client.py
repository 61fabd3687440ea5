"""The one place where a Hub client is made: explicit endpoint, explicit token, no token from anywhere else."""

from json import JSONDecodeError
from urllib.parse import urlparse

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from finetune_trainer.hub.errors import lacks_call

_PUBLIC_HUB = "huggingface.co"


class Api(HfApi):
    """HfApi for Hubs that may lack optional calls."""

    def _validate_yaml(self, content: str, *, repo_type: str | None = None, token: bool | str | None = None) -> None:
        """Let the Hub check the card's metadata, if it can: the client parses any answer, even a 404, as JSON."""
        try:
            super()._validate_yaml(content, repo_type=repo_type, token=token)
        except JSONDecodeError:
            return
        except HfHubHTTPError as error:
            if not lacks_call(error):
                raise


def connect(endpoint: str, *, token: str | None) -> Api:
    """Return a client of the Hub at `endpoint`; without a token it asks anonymously."""
    if urlparse(endpoint).hostname != _PUBLIC_HUB:
        # Uploads have no way back to LFS where a Hub has no Xet storage:
        # https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/_commit_api.py (_upload_files)
        constants.HF_HUB_DISABLE_XET = True
    return Api(endpoint=endpoint, token=token or False, library_name="finetune-operator")
