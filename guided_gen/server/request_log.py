"""What is noted of each request: its id, which the answer carries, and its times, for the metrics and the access log."""

from __future__ import annotations

import json
import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import log
from .metrics import Metrics

_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@dataclass
class RequestTimes:
    """Seconds: `queued`, until its search had a place; `first`, from the request's arrival to its search's first token."""

    path: str
    begun: float = field(default_factory=time.perf_counter)
    queued: float | None = None
    first: float | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begun


_CURRENT: ContextVar[RequestTimes | None] = ContextVar("request", default=None)


def current_request() -> RequestTimes | None:
    """Of the request that this task answers; None where it answers none."""
    return _CURRENT.get()


class AccessLog:
    """One JSON object a line for each request that was answered. It holds no text of requests and answers, and no keys."""

    def __init__(self, file: TextIO) -> None:
        self._file: TextIO | None = file

    def write(self, entry: dict[str, object]) -> None:
        """What cannot be written ends the log, not the server."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        except OSError as error:
            log.error("the access log cannot be written and ends here: %s", error)
            self._file = None


class NotedRequests:
    """ASGI middleware around all others. Paths that are no route are counted as one."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str], access: AccessLog | None = None) -> None:
        self._app, self._metrics, self._paths, self._access = app, metrics, paths, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        times = RequestTimes(scope["path"] if scope["path"] in self._paths else "other")
        name = _request_id(scope)
        status, size = 499, 0

        async def watched(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", name)]}
            size += len(message.get("body", b""))
            await send(message)

        token = _CURRENT.set(times)
        try:
            await self._app(scope, receive, watched)
        finally:
            _CURRENT.reset(token)
            self._metrics.answered(times, status)
            if self._access is not None:
                self._access.write(_entry(scope, name, times, status, size))


def _request_id(scope: Scope) -> bytes:
    """The client's own, where it is a short name; else a new one."""
    given = next((value for header, value in scope["headers"] if header.lower() == b"x-request-id"), b"")
    return given if _ID.fullmatch(given) else f"req_{secrets.token_hex(16)}".encode()


def _entry(scope: Scope, name: bytes, times: RequestTimes, status: int, size: int) -> dict[str, object]:
    rounded = {
        key: None if value is None else round(value, 4) for key, value in (("queued", times.queued), ("first", times.first))
    }
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": name.decode(),
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
        "seconds": round(times.seconds, 4),
        "queue_seconds": rounded["queued"],
        "first_token_seconds": rounded["first"],
        "bytes": size,
    }
