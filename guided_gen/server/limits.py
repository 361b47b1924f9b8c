"""What a server takes on: sizes, times, and a queue that is never longer than it says."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..engine.errors import SettingsError
from .errors import ApiError

_LEAST: dict[str, float] = {
    "searches": 1,
    "waiting": 0,
    "candidates": 1,
    "new_tokens": 1,
    "prompt_tokens": 1,
    "texts": 1,
    "body_bytes": 1,
}
_LEAST |= {"seconds": 1e-3, "header_seconds": 1e-3, "body_seconds": 1e-3, "reading_seconds": 1e-3, "ending_seconds": 1e-3}
_NAMES = {"new_tokens": "tokens of an answer", "prompt_tokens": "tokens of a prompt", "body_bytes": "bytes of a body"}


@dataclass(frozen=True)
class ServerLimits:
    """`searches` are decoded at once, `waiting` more may wait. `candidates` bounds a search's n, `new_tokens` an answer,
    `prompt_tokens` what is asked, `texts` what one request may have scored. `seconds` ends a search with its best answer so far,
    `header_seconds` and `body_seconds` a slow request, and `reading_seconds` a client that reads nothing, or so long after
    `seconds` not all. `ending_seconds`: what a server that is told to end leaves its searches for their last words.

    Raises SettingsError for a number that makes no sense.
    """

    searches: int = 8
    waiting: int = 32
    candidates: int = 64
    new_tokens: int = 2048
    prompt_tokens: int = 8192
    texts: int = 64
    body_bytes: int = 1 << 20
    seconds: float = 600.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    reading_seconds: float = 30.0
    ending_seconds: float = 20.0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            number = getattr(self, name)
            if not least <= number < math.inf:  # also of NaN
                raise SettingsError(f"a server's limit of {_NAMES.get(name, name)} is a number of {least} or more, not {number}")

    @property
    def connections(self) -> int:
        """Most at once, whether or not they ask for anything."""
        return 4 * (self.searches + self.waiting) + 64


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
