"""Asking prepare, then rank 0, of every job how far it is, a few at a time, apart from reconciling."""

import asyncio
import ipaddress
import logging
import os
import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import partial

import aiohttp
from pydantic import ValidationError

from finetune_api import keys
from finetune_api.contract import Progress
from finetune_operator.shell.cache import Cache, Target
from finetune_operator.shell.pace import Pace

logger = logging.getLogger(__name__)
MAX_AT_ONCE = 16
MAX_ANSWER_BYTES = 64 * 1024
ANSWER_SECONDS = 3.0
OK = 200


@dataclass
class ProgressPoller:
    """Puts answers into the cache, and calls `enqueue(uid)` when there is something to decide about."""

    cache: Cache
    _: KW_ONLY
    pace: Pace
    """Is told how many prepare or train."""
    enqueue: Callable[[str], None]
    seconds: float
    port: int = keys.TELEMETRY_PORT
    clock: Callable[[], float] = time.monotonic
    _under_way: set[Target] = field(default_factory=set)
    _answering: set[Target] = field(default_factory=set)
    # Whoever does not answer takes seconds to find that out, and must not keep those who do from being asked.
    _slots: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, MAX_AT_ONCE))
    _slots_of_the_silent: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, MAX_AT_ONCE))

    async def run(self) -> None:
        """Poll for ever."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            while True:
                self._ask_all(session, group)
                await asyncio.sleep(self.seconds)

    async def poll(self, session: aiohttp.ClientSession) -> None:
        """Ask everybody once, and wait for their answers."""
        async with asyncio.TaskGroup() as group:
            self._ask_all(session, group)

    def _ask_all(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        targets = set(self.cache.targets())
        self._answering &= targets
        self.pace.share_among(len({target.uid for target in targets}))
        for target in targets - self._under_way:
            self._under_way.add(target)
            group.create_task(self._ask(session, target))

    async def _ask(self, session: aiohttp.ClientSession, target: Target) -> None:
        async with self._slots if target in self._answering else self._slots_of_the_silent:
            answer = await self._fetch(session, target)
        self._under_way.remove(target)
        is_usual = isinstance(answer, Progress) and target in self._answering
        if isinstance(answer, Progress):
            self._answering.add(target)
        else:
            self._answering.discard(target)
            logger.debug("progress not available", extra={"uid": target.uid, "error": answer})
        is_news = self.cache.note_polled(target, answer, at=self.clock())
        # A thousand jobs answer 250 times a second, which is of use to a decision only where it may be written.
        if is_news and (not is_usual or self.pace.seconds_to_due(target.uid, is_first=False) <= 0):
            self.enqueue(target.uid)

    async def _fetch(self, session: aiohttp.ClientSession, target: Target) -> Progress | str:
        """Return the answer, or why there is none, in words."""
        try:
            # A pod is not trusted: no redirects, no big answers.
            async with session.get(self._url(target), allow_redirects=False) as response:
                if response.status != OK:
                    return f"HTTP status {response.status} instead of {OK}"
                data = await _read_some(response.content)
            progress = Progress.model_validate_json(data)
        except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
            return _in_words(error)
        if progress.attempt != target.attempt:
            return f"it answers for attempt {progress.attempt} instead of {target.attempt}"
        if progress.job_uid not in ("", target.uid):
            return f"it answers for the job of uid {progress.job_uid}"
        return progress

    def _url(self, target: Target) -> str:
        host = f"[{target.address}]" if ipaddress.ip_address(target.address).version == 6 else target.address  # noqa: PLR2004
        return f"http://{host}:{self.port}/progress"


async def _read_some(stream: aiohttp.StreamReader) -> bytes:
    """Return the answer up to the limit; what is longer will not parse."""
    data = bytearray()
    async for chunk in stream.iter_chunked(4096):
        data += chunk
        if len(data) >= MAX_ANSWER_BYTES:
            break
    return bytes(data)


def _in_words(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"nothing came within {ANSWER_SECONDS:.0f} s, as when a NetworkPolicy or a firewall drops packets"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=int(number))):
            return f"no connection ({os.strerror(number)})"
        case aiohttp.ClientError():
            return f"the connection broke ({type(error).__name__}), as when a mesh refuses plain HTTP"
        case _:
            return "what it answers is not the progress of a training"
