"""Runs what was asked for: admitted, within its time, and no longer than its client waits for it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..engine.errors import SettingsError
from ..engine.search import SearchSettings
from ..generator import GuidedGenerator
from ..question import Question
from ..solution import Event, Progress, Solution, Solved
from ..solving import Solving
from .errors import ApiError, ClientGone, log
from .limits import AdmissionQueue, ServerLimits
from .metrics import Metrics
from .request_log import current_request
from .requests import SearchRequest

Result = TypeVar("Result")


class SearchService:
    """One generator's searches for the clients of a server. `settings` are those of a search that says nothing else."""

    def __init__(self, generator: GuidedGenerator, settings: SearchSettings, limits: ServerLimits) -> None:
        self.generator, self.settings, self.limits = generator, settings, limits
        self.admission = AdmissionQueue(limits)
        self.metrics = Metrics(generator, self.admission)
        generator.max_prompt_tokens = limits.prompt_tokens
        with suppress(SettingsError):  # who asks for a schema is told
            _ = generator.grammars  # made now: that takes more than a second, in which no other thread runs
        loaded, value = generator.loaded, generator.value
        identity = loaded.identity.sha256, loaded.precision, None if value is None else Path(value).name
        self.fingerprint = f"fp_{hashlib.sha256(repr(identity).encode()).hexdigest()[:12]}"
        self._live: set[Solving] = set()
        self._ending = False

    async def begun(self, asked: SearchRequest, question: Callable[[], Question], watch: bool = False) -> Solving:
        """A search with what was asked for, checked and not yet decoded. On a thread: `question` may read a long statement, and
        the settings may take the whole vocabulary.
        """

        def begin() -> Solving:
            read = question()
            changes = asked.changes(self.generator, self.settings, self.limits, read)
            fits = None if asked.toolbox is None else asked.toolbox.fits
            return self.generator.astream(read, self.settings, stop=asked.stops, accept=fits, watch=watch, **changes)

        return await asyncio.to_thread(begin)

    def end(self) -> None:
        """Have the searches end with their best answers so far, and begin no others: the server is about to end."""
        self._ending = True
        for solving in self._live:
            solving.cancel()

    async def solution(self, solving: Solving) -> Solution:
        """The whole search, read to its end."""
        async with aclosing(self.events(solving)) as events:
            async for event in events:
                if isinstance(event, Solved):
                    return event.solution
        raise AssertionError("a search ends with Solved")

    async def events(self, solving: Solving) -> AsyncGenerator[Event, None]:
        """A search's events, from when it is its turn. At the time limit it ends with what there is.

        Its place and its caches are free again before the last event, whose data a client may be long in reading.
        """
        decoded, noted = 0, current_request()
        arrived = time.perf_counter()
        try:
            async with self.admission.place(), self._alive(solving), aclosing(solving.__aiter__()) as events:
                if noted is not None:
                    noted.queued = time.perf_counter() - arrived
                late = asyncio.get_running_loop().call_later(self.limits.seconds, solving.cancel)
                try:
                    async for event in events:
                        if isinstance(event, Solved):
                            decoded = event.solution.decoded_tokens
                            break
                        if isinstance(event, Progress):
                            decoded = event.decoded_tokens
                            if noted is not None and noted.first is None and decoded:
                                noted.first = noted.seconds
                        yield event
                finally:
                    late.cancel()
        except (GeneratorExit, asyncio.CancelledError):
            self.metrics.abandoned.inc()
            raise
        finally:
            self.metrics.searched.inc(decoded)
        assert isinstance(event, Solved)
        self.metrics.prompt.inc(event.solution.prompt_tokens)
        yield event

    @asynccontextmanager
    async def _alive(self, solving: Solving) -> AsyncIterator[None]:
        """While it is decoded, `end` reaches it. Raises ApiError once the server is about to end."""
        if self._ending:
            raise ApiError(503, "the server is about to end", code="ending")
        self._live.add(solving)
        try:
            yield
        finally:
            self._live.discard(solving)


async def while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Wait for `work`, and cancel it when the client goes away. Raises ClientGone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """A stream of bytes that is closed, and its search freed, however the response ends; at a time limit if it is not read."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None], media_type: str, limits: ServerLimits) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield first
            async for chunk in rest:
                yield chunk

        super().__init__(chunks(), media_type=media_type, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._rest, self._seconds = rest, limits.seconds + limits.reading_seconds

    @classmethod
    async def of(
        cls, request: Request, chunks: AsyncGenerator[bytes, None], media_type: str, limits: ServerLimits
    ) -> EventStream:
        """Waits for the first of `chunks`: errors before it still become an answer with a status of their own."""
        return cls(await while_connected(request, anext(chunks)), chunks, media_type, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            log.warning("a client did not read its answer in %g seconds", self._seconds)
        finally:
            await self._rest.aclose()
