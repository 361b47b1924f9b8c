"""uvicorn, bounded: connections have a time limit for a request's headers, and for a reader that takes nothing.

Where all places for connections are taken, the one that has waited longest for its request to be whole is closed: clients that
send slowly, or nothing, hold up nobody but themselves.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..engine.errors import SettingsError
from .limits import ServerLimits
from .service import SearchService

HEADER_BYTES = 1 << 16  # of one request, all its headers together
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def http_server(app: FastAPI, limits: ServerLimits) -> HttpServer:
    """Serves the application that `create_app` made."""
    service: SearchService = app.state.service

    class Bounded(BoundedConnection):
        bounds = limits

    config = uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        h11_max_incomplete_event_size=HEADER_BYTES,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(limits.ending_seconds),
        server_header=False,
        log_level="warning",
    )
    return HttpServer(config, service)


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that can listen at the first address of `host`; nobody is let in yet. Raises SettingsError where the port or the
    name cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise SettingsError(f"a port is a number from 0 (any free one) to 65535, not {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"there is no address {host!r} to listen at: {getattr(error, 'strerror', error)}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise SettingsError(f"{host} port {port} cannot be listened at: {error.strerror}") from None
    return bound


class HttpServer(uvicorn.Server):
    """Told to end, by SIGTERM or SIGINT, it has its searches end with their best answers so far, and sends these."""

    def __init__(self, config: uvicorn.Config, service: SearchService) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.end()
        await super().shutdown(sockets)


class BoundedConnection(H11Protocol):
    """One connection. `bounds`: of the server that it belongs to."""

    bounds = ServerLimits()
    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _since = 0.0  # when it began to wait for a request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._await_headers()
        if len(self.connections) >= self.bounds.connections:
            waiting = [one for one in self.connections if isinstance(one, BoundedConnection) and one.incomplete]
            oldest = min(waiting, key=lambda one: one._since)  # itself, if no other
            if oldest is not self:
                oldest.give_up()

    @property
    def incomplete(self) -> bool:
        """Whether its next request is not there as a whole."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_headers()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._unread = self.loop.call_later(self.bounds.reading_seconds, self.give_up)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def give_up(self) -> None:
        """Close it at once, whatever was sent."""
        self.connections.discard(self)
        self.transport.abort()

    def _await_headers(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.bounds.header_seconds, self._is_late)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(LATE)
            self.transport.close()
            self._stop_waiting()


def port_of(server: uvicorn.Server) -> int:
    """Where a server that has started listens."""
    address: Any = server.servers[0].sockets[0].getsockname()
    return int(address[1])
