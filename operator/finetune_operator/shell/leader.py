"""Of several replicas one works: the holder of a Lease. The others wait, and take over when it is renewed no more.

The Lease only saves doing everything twice. That nothing is made twice rests on the names of children and the versions
of statuses, with one replica as with many, so a holder that learns late of its loss does no harm.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

logger = logging.getLogger(__name__)
#: Those of Kubernetes' own controllers.
LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 15, 10, 2
REQUEST_SECONDS = 5


class LeaseLostError(Exception):
    """The Lease could not be renewed in time; another replica may work by now."""


class Leadership:
    """The wish to be the one replica that works. `held` is set once it is."""

    def __init__(self, api: ApiClient, *, namespace: str, lease: str, identity: str) -> None:
        self.held = asyncio.Event()
        self._election = LeaderElection(
            Config(
                lock=_PatientLock(lease, namespace, identity, api),
                lease_duration=LEASE_SECONDS,
                renew_deadline=RENEW_SECONDS,
                retry_period=RETRY_SECONDS,
                onstarted_leading=self._begin,
                onstopped_leading=self._end,
            )
        )

    async def run(self) -> None:
        """Wait for the Lease, then keep it; raises LeaseLostError when that fails."""
        await self._election.run()

    async def _begin(self) -> None:
        logger.info("this replica works now")
        self.held.set()

    async def _end(self) -> None:
        raise LeaseLostError("the lease was not renewed in time; this replica starts anew, as one that waits")


class _PatientLock(LeaseLock):  # type: ignore[misc]  # the client has no types
    """The library's lock, for which a server that does not answer, or too late, is one more that failed."""

    async def get(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the library's
        try:
            return await _in_time(super().get(*arguments, **named))
        except (aiohttp.ClientError, OSError) as error:
            return False, ApiException(reason=str(error) or type(error).__name__)

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        # The library's own call asks for pretty=True, which its client refuses: it wants a string.
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        try:
            await _in_time(self.api_instance.create_namespaced_lease(namespace, lease))
        except (ApiException, aiohttp.ClientError, OSError):
            return False
        return True

    async def update(self, *arguments: Any, **named: Any) -> bool:  # noqa: ANN401 - as the library's
        try:
            return bool(await _in_time(super().update(*arguments, **named)))
        except (aiohttp.ClientError, OSError):
            return False


async def _in_time(request: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever it returns
    async with asyncio.timeout(REQUEST_SECONDS):  # TimeoutError is an OSError
        return await request
