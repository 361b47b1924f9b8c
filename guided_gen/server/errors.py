"""Errors in the form in which OpenAI's API reports them, so that its clients raise what their users expect."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ..data_builder.judge.isolation import IsolationError
from ..data_builder.judge.program import JudgeError
from ..engine.errors import BackendError, ContextError, GuidedGenError

log = logging.getLogger("guided_gen.server")
UNABLE = BackendError, JudgeError, IsolationError  # what the server works with has failed


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class ApiError(Exception):
    """An answer that is no result: an HTTP status, one sentence, and what OpenAI's clients look for. `close`: the connection."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.close = close
        self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry_after

    @property
    def body(self) -> dict[str, Any]:
        kind = {401: "authentication_error", 429: "rate_limit_error", 404: "not_found_error"}.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        return {"error": {"message": _plain(self.message), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.close:
            headers["Connection"] = "close"
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


def as_api_error(error: Exception) -> ApiError:
    """What the client is told about any error; those that are ours are logged and told without their text."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ContextError):
        return ApiError(400, str(error), param="messages", code="context_length_exceeded")
    if isinstance(error, GuidedGenError) and not isinstance(error, UNABLE):
        return ApiError(400, str(error))
    log.error("an error of the server's own", exc_info=error)
    if isinstance(error, UNABLE):
        return ApiError(503, "the server cannot answer now; its log says why")
    return ApiError(500, "the server made a mistake; its log says which")


def report_errors(app: FastAPI) -> None:
    """Have `app` answer every error in OpenAI's form."""

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        if first["type"] == "extra_forbidden":
            return ApiError(400, f"unrecognized request argument: {where}", param=_plain(where)).response()
        return ApiError(400, f"{where}: {first['msg']}" if where else first["msg"], param=_plain(where) or None).response()

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return ApiError(error.status_code, str(error.detail)).response()

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    async def other(_: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientGone, gone)
    app.add_exception_handler(ApiError, other)
    app.add_exception_handler(GuidedGenError, other)
    app.add_exception_handler(Exception, other)


def _plain(text: str) -> str:
    """Text that can be sent: what a client wrote may hold halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode()[:1000]
