"""What a server takes on: sizes, times, and a queue that is never longer than it says."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .errors import ApiError


@dataclass(frozen=True)
class ServerLimits:
    """`searches` are decoded at once, `waiting` more may wait. `candidates` bounds a search's n, `new_tokens` an answer,
    `prompt_tokens` what is asked, `texts` what one request may have scored. `seconds` ends a search with its best answer so far,
    `body_seconds` a slow upload, and `reading_seconds` more than `seconds` a stream that is not read to its end.
    """

    searches: int = 8
    waiting: int = 32
    candidates: int = 64
    new_tokens: int = 2048
    prompt_tokens: int = 8192
    texts: int = 64
    body_bytes: int = 1 << 20
    seconds: float = 600.0
    body_seconds: float = 30.0
    reading_seconds: float = 30.0


class AdmissionQueue:
    """The queue before the model: so many places, so many that wait, the rest are told to come again."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.searches)
        self._mean_seconds = 5.0
        self.waiting = 0
        self.running = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises ApiError: 429 where too many wait, 503 where none came free in time."""
        if self._places.locked() and self.waiting >= self._limits.waiting:
            raise ApiError(
                429, "too many searches are waiting; try again later", code="queue_full", retry_after=self._until_free()
            )
        self.waiting += 1
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._places.acquire()  # at once where a place is free: who gets it has not waited
        except TimeoutError:
            raise ApiError(503, "no search ended in time", code="queue_timeout", retry_after=self._until_free()) from None
        finally:
            self.waiting -= 1
        self.running += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()
            self._mean_seconds += 0.2 * (time.monotonic() - begun - self._mean_seconds)

    def _until_free(self) -> int:
        """Seconds, at least 1, until the queue has probably moved on by one place."""
        return max(1, math.ceil(self._mean_seconds / self._limits.searches))
