"""What tests of the examples share: an empty Hub over loopback, on which one user may write under every owner."""

from collections.abc import Iterator

import pytest

from tests.hub import Accounts, Membership, RunningHub, Token, User, running_hub

OWNERS = ("Qwen", "acme", "google", "philschmid", "sentence-transformers", "tomaarsen")
TOKENS = (Token(value=RunningHub.write_token, role="write"), Token(value=RunningHub.read_token, role="read"))
ACCOUNTS = Accounts(
    users=(User(name="demo", organizations=tuple(Membership(name=owner) for owner in OWNERS), tokens=TOKENS),)
)


@pytest.fixture(scope="session")
def session_hub() -> Iterator[RunningHub]:
    """One Hub for the whole session; tests take `hub`."""
    with running_hub(accounts=ACCOUNTS) as hub:
        yield hub


@pytest.fixture
def hub(session_hub: RunningHub) -> RunningHub:
    """An empty Hub without faults."""
    session_hub.clear()
    session_hub.delete_repositories()
    return session_hub
