"""What the benchmark itself asks of the API server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes.aio import client, config

from finetune_operator.shell.cluster import Cluster
from finetune_operator.shell.informer import EXPIRED
from finetune_operator.shell.kinds import Kind
from finetune_operator.shell.wire import UNREACHABLE, ApiError, Wire

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
MAX_AT_ONCE = 64


class ApiFailedError(Exception):
    """The API server refused something."""


class Api:
    """An API server, asked by so many at once."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def send(self, method: str, path: str, body: Object, content: str = "application/json") -> Object:
        """Return the answer to a request; raises ApiFailedError for any but a good one."""
        headers = {"Accept": "application/json", "Content-Type": content}
        async with self._slots:
            request = await self._api.param_serialize(
                method, path, {}, [], headers, body, auth_settings=["BearerToken"]
            )
            response = await self._api.call_api(*request, _request_timeout=120)
            answer: Object = json.loads(await response.read())
        if response.status >= 300:  # noqa: PLR2004 - neither a success nor anything else that was asked for
            raise ApiFailedError(f"{method} {path}: {response.status} {answer.get('message')}")
        return answer

    async def follow(self, kind: Kind, namespace: str) -> AsyncIterator[tuple[str, Object]]:
        """Yield (change, object) for ever, from now on; every object, if the API server has forgotten what changed.

        It has for a moment after a CRD was installed, and keeps its objects anew.
        """
        cluster = Cluster(Wire(self._api))
        async for page in cluster.pages(kind, namespace):
            version = page.version
        while True:
            try:
                async for change, found in cluster.watch(kind, namespace, version=version):
                    version = int(found["metadata"]["resourceVersion"])
                    if change != "BOOKMARK":
                        yield change, found
            except ApiError as error:
                if error.status == EXPIRED:
                    async for page in cluster.pages(kind, namespace):
                        version = page.version
                        for found in page.items:
                            yield "MODIFIED", found
                elif error.status != UNREACHABLE:  # a watch that says nothing for long is opened again
                    raise


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Api]:
    """Connect as the user of a kubeconfig."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    configuration.connection_pool_maxsize = 2 * MAX_AT_ONCE
    configuration.client_session_kwargs = {"trust_env": False}  # as the operator's, for the sake of the time it takes
    async with client.ApiClient(configuration) as api:
        yield Api(api)
