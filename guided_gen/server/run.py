"""How uvicorn serves the application."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI

from .limits import Limits

HEADER_BYTES = 1 << 16  # of one request, all its headers together


def server_config(app: FastAPI, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """Bounded headers, bounded connections, no web sockets; port 0 is any free one."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",  # the parser whose headers can be bounded
        ws="none",
        h11_max_incomplete_event_size=HEADER_BYTES,
        limit_concurrency=4 * (limits.searches + limits.waiting) + 64,
        timeout_graceful_shutdown=10,
        server_header=False,
        log_level="warning",
    )
