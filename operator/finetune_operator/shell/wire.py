"""Requests to the API server, and its answers. Every error comes out as ApiError.

A server that asks to be left alone for a while is left alone by the whole process, not by one job of it: what it has
too much of is requests, whoever sends them.
"""

import asyncio
import json
import logging
import os
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client, config

from finetune_operator.core.decision import Manifest

logger = logging.getLogger(__name__)
REQUEST_SECONDS = 30
CONNECT_SECONDS = 10
SUCCESS = range(200, 300)
OK = 200
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
REJECTED = (400, 422)
#: https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go
POLICY_WORDS = ("denied the request", "denied request", "failed calling webhook", "failed to call webhook")
BUSY = (429, 503)
USED_UP = "exceeded quota"
UNREACHABLE = 0
#: However long a server asks for, it is asked again after so many seconds, and so many times.
LONGEST_PAUSE_SECONDS = 30.0
MAX_PAUSES = 5
APPLY = "application/apply-patch+yaml"
#: What YAML does not take as it is, or takes for a line break: https://yaml.org/spec/1.2.2/#51-character-set
NOT_IN_YAML = re.compile("[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Manifest | None = None
    content: str = "application/json"
    verb: str = ""

    @property
    def action(self) -> str:
        """Return what is done, as metrics name it."""
        return self.verb or self.method

    @property
    def resource(self) -> str:
        """Return what it is done to, as rules of RBAC name it: plural, and subresource if there is one."""
        parts = self.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        parts = parts[2:] if parts[:1] == ["namespaces"] else parts
        return "/".join(parts[::2])


class ApiError(Exception):
    """The API server said no, or did not answer (status 0)."""

    def __init__(self, call: Call, status: int, message: str) -> None:
        super().__init__(f"{call.action} {call.path}: {status} {message}")
        self.status = status
        self.message = message

    @property
    def is_rejection(self) -> bool:
        """Tell whether the API server understood and will never agree: the object itself is wrong."""
        return self.status in REJECTED and not self.is_refusal

    @property
    def is_refusal(self) -> bool:
        """Tell whether a quota or a policy says no, or cannot be asked, all of which may change.

        Policies and webhooks answer with the status of their choice, and with these words.
        """
        return self.status == FORBIDDEN or any(words in self.message for words in POLICY_WORDS)

    @property
    def is_about_quota(self) -> bool:
        """Tell whether there is room for less than was asked for."""
        return self.status == FORBIDDEN and USED_UP in self.message


async def connect() -> client.ApiClient:
    """Return a client for the cluster that this process runs in, or for the one that KUBECONFIG names."""
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(client_configuration=configuration)
    # The session would look for a proxy, and for a .netrc, before each request anew, both times in a thread.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.proxy = configuration.proxy or find_proxy(configuration.host)
    return client.ApiClient(configuration)


def find_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a server."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


@dataclass
class Wire:
    """The connections of the process. `clock` is monotonic, `jitter()` between 0 and 1."""

    api: client.ApiClient
    on_answer: Callable[[Call, int, str], None] = lambda *_: None
    """Told of every answer: its status and, where that is an error, its words."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Any] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    _quiet_until: float = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self.api.close()

    async def request(self, call: Call) -> Manifest:
        """Return the answer to a request; raises ApiError for any but a good one."""
        async with self.open(call, REQUEST_SECONDS) as response:
            try:
                return parse(await response.read())
            except (aiohttp.ClientError, OSError) as error:
                raise ApiError(call, UNREACHABLE, str(error) or type(error).__name__) from error

    @asynccontextmanager
    async def open(self, call: Call, patience: float | aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer to a request, if it is a good one, once the API server has time for it."""
        for _ in range(MAX_PAUSES):
            await self._wait()
            response, refusal = await self._send(call, patience)
            if not self._is_to_wait(response):
                break
        try:
            if response.status not in SUCCESS:
                raise ApiError(call, response.status, refusal)
            yield response
        finally:
            response.close()

    async def _send(self, call: Call, patience: float | aiohttp.ClientTimeout) -> tuple[aiohttp.ClientResponse, str]:
        status, refusal = UNREACHABLE, ""
        headers = {"Accept": "application/json", "Content-Type": call.content}
        body: Manifest | bytes | None = call.body
        if call.content == APPLY and call.body is not None:
            headers["Content-Type"] += "; charset=utf-8"  # of what is exactly APPLY the client makes JSON in ASCII
            body = as_yaml(call.body).encode()
        try:
            query = list(call.query.items())
            method, url, headers, *_ = await self.api.param_serialize(
                call.method, call.path, {}, query, headers, auth_settings=["BearerToken"]
            )
            response = (await self.api.call_api(method, url, headers, body, _request_timeout=patience)).response
            refusal = "" if response.status in SUCCESS else str(parse(await response.read()).get("message", ""))
            status = response.status
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise ApiError(call, UNREACHABLE, str(error) or type(error).__name__) from error
        else:
            return response, refusal
        finally:
            self.on_answer(call, status, refusal)

    def _is_to_wait(self, response: aiohttp.ClientResponse) -> bool:
        """Tell whether the API server asks for a pause; from then on nobody asks it anything until that is over."""
        asked = response.headers.get("Retry-After", "")
        if response.status not in BUSY or not asked.isdigit():
            return False
        pause = min(float(asked), LONGEST_PAUSE_SECONDS)
        if self._quiet_until < self.clock():
            logger.warning("the API server asks for a pause", extra={"seconds": pause, "status": response.status})
        self._quiet_until = max(self._quiet_until, self.clock() + pause)
        return True

    async def _wait(self) -> None:
        while (seconds := self._quiet_until - self.clock()) > 0:
            await self.sleep(seconds + self.jitter())  # not all at the same moment


def as_yaml(body: Manifest) -> str:
    """Return JSON that is YAML, too: what is applied is read as YAML, which does not know JSON's pairs of escapes.

    An emoji in a log line, or in a text of the user's, would be one.
    """
    return NOT_IN_YAML.sub(_escape, json.dumps(body, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    is_half = "\ud800" <= match[0] <= "\udfff"
    return "\\ufffd" if is_half else f"\\u{ord(match[0]):04x}"


def parse(data: bytes) -> dict[str, Any]:
    """Return the answer as JSON, or as the message that it is."""
    try:
        answer = json.loads(data)
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {}
