"""Before any route: who may come in, and how much they may bring. Bodies are read here, bounded in bytes and time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.errors import GuidedGenError
from .errors import ApiError
from .limits import ServerLimits

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_PATHS = {"/", "/health"}
DISCARDED_BYTES = 64 << 20  # read and forgotten, so that a client that sent too much gets to read why that is refused


def read_api_keys(path: Path) -> frozenset[str]:
    """The keys of a file, one a line. Raises GuidedGenError where there is none."""
    try:
        keys = frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise GuidedGenError(f"{path} cannot be read as a file of API keys: {error}") from None
    if not keys:
        raise GuidedGenError(f"{path} holds no API key")
    return keys


class AccessControl:
    """ASGI middleware. Without keys everybody may come in whose request names a host of `hosts` (all, where it is empty)."""

    def __init__(self, app: ASGIApp, limits: ServerLimits, keys: Iterable[str] = (), hosts: frozenset[str] = LOOPBACK) -> None:
        self._app, self._limits, self._hosts = app, limits, hosts
        self._keys = [hashlib.sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["method"] == "HEAD":  # as GET; the connection sends no body
            scope = {**scope, "method": "GET"}
        try:
            self._check(scope, headers)
            body = await self._body(receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        told = False

        async def replayed() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replayed, send)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        if b"content-length" in headers and b"transfer-encoding" in headers:  # whoever stands before us may read another body
            raise ApiError(400, "a request has a length or a transfer encoding, not both", close=True)
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        if self._hosts and name not in self._hosts:  # a foreign page whose name resolves to this machine
            raise ApiError(403, "this server does not answer for that host name", code="unknown_host")
        if self._keys and scope["path"] not in OPEN_PATHS:
            scheme, _, presented = headers.get(b"authorization", b"").partition(b" ")
            digest = hashlib.sha256(presented.strip()).digest()
            known = sum(hmac.compare_digest(digest, key) for key in self._keys)  # looks at all of them, always
            if scheme.lower() != b"bearer" or not known:
                raise ApiError(401, "a valid API key is needed", code="invalid_api_key")
        if scope["method"] in ("POST", "PUT", "PATCH"):  # a foreign page may send other types without being asked for
            kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
            if kind != b"application/json":
                raise ApiError(415, "a request's body is JSON, and its content type application/json")

    async def _body(self, receive: Receive) -> bytes:
        most = self._limits.body_bytes
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ApiError(400, "the client went away")
                    part = message.get("body", b"")
                    size += len(part)
                    if size <= most:
                        parts.append(part)
                    if not message.get("more_body") or size > most + DISCARDED_BYTES:
                        break
        except TimeoutError:
            raise ApiError(408, f"the body did not arrive within {self._limits.body_seconds:g} seconds") from None
        if size > most:
            raise ApiError(413, f"the body has more than {most} bytes", code="body_too_large")
        return b"".join(parts)
