"""A Hugging Face Hub for tests and the demo: `huggingface_hub` talks to it unchanged through `HF_ENDPOINT`.

In a test: `with running_hub() as hub: HfApi(endpoint=hub.endpoint, token=hub.write_token)`.
In a pod or a shell: `python -m tests.hub --directory DIR`.
"""

from tests.hub.accounts import Accounts, Membership, Scope, Token, User
from tests.hub.context import Options
from tests.hub.running import RunningHub, running_hub

__all__ = ["Accounts", "Membership", "Options", "RunningHub", "Scope", "Token", "User", "running_hub"]
