"""The login for a registry, out of a mounted Secret of type kubernetes.io/dockerconfigjson."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_api.reasons import Reason
from finetune_trainer.workspace.failures import RunFailure

KEY = ".dockerconfigjson"
FIELD = "spec.publish.secretName"


@dataclass(frozen=True)
class Login:
    """Who asks, and the proof."""

    user: str
    password: str


def read_login(secret: Path, host: str) -> Login | None:
    """Return the login for a registry; None where no Secret is mounted.

    Fails with TokenRefused where the Secret is of another type, or has no login for this host.
    """
    if not secret.is_dir():
        return None
    make = f"make it with `kubectl create secret docker-registry NAME --docker-server={host}`"
    found = _logins(secret)
    if found is None:
        message = f"{FIELD}: the Secret has no {KEY} with logins; {make}"
        raise RunFailure(Reason.TOKEN_REFUSED, message)
    login = next((login for server, login in found.items() if _host(server) == host), None)
    if login is None:
        servers = ", ".join(sorted(map(_host, found))) or "no registry"
        message = f"{FIELD}: the Secret has a login for {servers}, and none for {host}; {make}"
        raise RunFailure(Reason.TOKEN_REFUSED, message)
    return login


def login_secrets(secret: Path) -> list[str]:
    """Return what of a mounted login is in no log."""
    return list(_proofs(_logins(secret) or {}))


def _proofs(logins: Mapping[str, Login]) -> Iterator[str]:
    for login in logins.values():
        if login.password:
            yield login.password
            yield base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _logins(secret: Path) -> dict[str, Login] | None:
    """Return the logins by server as it is written there; None if there is no file of logins."""
    try:
        auths = json.loads((secret / KEY).read_bytes())["auths"]
        return {server: login for server, entry in auths.items() if (login := _login(entry)) is not None}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _login(entry: Any) -> Login | None:  # noqa: ANN401 - JSON of anybody
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return Login(user, password)
    return Login(entry["username"], entry["password"]) if entry.get("username") and entry.get("password") else None


def _host(server: str) -> str:
    """Return the host of a server, which some tools write as an address with a path."""
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]
