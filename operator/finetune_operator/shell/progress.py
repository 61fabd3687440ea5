"""Asking rank 0 of every training job how far it is, a few at a time, apart from reconciling."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable

import aiohttp
from pydantic import ValidationError

from finetune_api import keys
from finetune_api.contract import Progress
from finetune_operator.shell.cache import Cache, Target

logger = logging.getLogger(__name__)
MAX_AT_ONCE = 16
MAX_ANSWER_BYTES = 64 * 1024
ANSWER_SECONDS = 3.0
OK = 200


class ProgressPoller:
    """Puts answers into the cache, and calls `enqueue(uid)` when there is something to decide about."""

    def __init__(
        self, cache: Cache, *, enqueue: Callable[[str], None], seconds: float, port: int = keys.TELEMETRY_PORT
    ) -> None:
        self._cache = cache
        self._enqueue = enqueue
        self._seconds = seconds
        self._port = port
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def run(self) -> None:
        """Poll for ever."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self.poll(session)
                await asyncio.sleep(self._seconds)

    async def poll(self, session: aiohttp.ClientSession) -> None:
        """Ask everybody once."""
        await asyncio.gather(*[self._ask(session, target) for target in self._cache.targets()])

    async def _ask(self, session: aiohttp.ClientSession, target: Target) -> None:
        async with self._slots:
            progress = await self._fetch(session, target)
        if self._cache.note_polled(target, progress):
            self._enqueue(target.uid)

    async def _fetch(self, session: aiohttp.ClientSession, target: Target) -> Progress | None:
        """Return the answer, or None if there is none or it is of another attempt."""
        try:
            # A pod is not trusted: no redirects, no big answers.
            async with session.get(self._url(target), allow_redirects=False) as response:
                if response.status != OK:
                    return None
                data = await _read_some(response.content)
            progress = Progress.model_validate_json(data)
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            logger.debug("progress not available", extra={"uid": target.uid, "error": type(error).__name__})
            return None
        return progress if progress.attempt == target.attempt else None

    def _url(self, target: Target) -> str:
        host = f"[{target.address}]" if ipaddress.ip_address(target.address).version == 6 else target.address  # noqa: PLR2004
        return f"http://{host}:{self._port}/progress"


async def _read_some(stream: aiohttp.StreamReader) -> bytes:
    """Return the answer up to the limit; what is longer will not parse."""
    data = bytearray()
    async for chunk in stream.iter_chunked(4096):
        data += chunk
        if len(data) >= MAX_ANSWER_BYTES:
            break
    return bytes(data)
