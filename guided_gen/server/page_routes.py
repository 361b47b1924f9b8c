"""The page's own routes: the page, a search as a stream of what it does, its end on demand, and searches that were kept.

A kept search is known by a random name of 128 bits: who has the name (and a key, where keys are asked for) may read it.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field, StringConstraints

from ..engine.html_page import content_security_policy
from ..engine.policy_names import described
from ..page import page
from ..question import as_question
from ..solving import Solving
from .errors import ApiError
from .messages import Strict
from .page_lines import MEDIA_TYPE, PageLines, page_lines
from .requests import Guided, Int64, SearchRequest
from .service import EventStream, SearchService

KEPT_BYTES = 64 << 20  # of all searches that are kept


class PageRequest(Strict):
    """A problem typed into the page."""

    statement: Annotated[str, StringConstraints(min_length=1)]
    n: Annotated[int, Field(ge=1, le=128)] = 8
    policy: Annotated[str, Field(max_length=200)] = "best-of-n"
    max_tokens: Annotated[int, Field(ge=1, lt=1 << 31)] = 512
    seed: Int64 = 0

    def as_search(self) -> SearchRequest:
        guided = Guided(policy=self.policy, n=self.n)
        return SearchRequest(model="", max_tokens=self.max_tokens, seed=self.seed, guided=guided)


class PageSearches:
    """The page's searches by name: those that run, and the last ones that ended, within so many bytes of JSON."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._live: dict[str, Solving] = {}
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def begin(self, solving: Solving) -> str:
        name = secrets.token_urlsafe(16)
        self._live[name] = solving
        return name

    def end(self, name: str) -> None:
        self._live.pop(name, None)

    def stop(self, name: str) -> None:
        """End a search with its best answer so far; one that has ended stays as it is. Raises ApiError for a name nobody has."""
        if name in self._live:
            self._live[name].cancel()
        elif name not in self._kept:
            raise _unknown()

    def keep(self, name: str, search: bytes) -> None:
        self._kept[name] = search
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._most:
            self._kept.popitem(last=False)

    def kept(self, name: str) -> bytes:
        """Raises ApiError."""
        if name not in self._kept:
            raise _unknown()
        return self._kept[name]


def add_page(app: FastAPI, service: SearchService) -> None:
    """The page at /, and what it asks for."""
    limits = service.limits
    most = {"n": limits.candidates, "tokens": limits.new_tokens}
    shown = page([], title="guided-gen", live={"policies": described(), "most": most})
    headers = {
        "Content-Security-Policy": content_security_policy(shown, live=True) + "; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    searches = PageSearches()

    @app.get("/")
    async def live_page() -> HTMLResponse:
        """A page on which to type a problem and watch the search for its answer."""
        return HTMLResponse(shown, headers=headers)

    @app.post("/search")
    async def page_search(request: Request, asked: PageRequest) -> Response:
        """For the page: JSON lines of what the search does, the last with the whole search."""

        solving = await service.begun(asked.as_search(), lambda: as_question(asked.statement), watch=True)
        name = searches.begin(solving)
        lines = PageLines(service.generator.loaded.tokenizer, asked.statement, name)

        async def told() -> AsyncGenerator[bytes, None]:
            try:
                async with aclosing(page_lines(service.events(solving), lines)) as stream:
                    async for line in stream:
                        yield line
                if lines.search is not None:
                    searches.keep(name, lines.search)
            finally:
                searches.end(name)

        return await EventStream.of(request, told(), MEDIA_TYPE, limits)

    @app.post("/search/{name}/stop")
    async def stop_search(name: str) -> dict[str, Any]:
        """For the page: end a search with its best answer so far."""
        searches.stop(name)
        return {}

    @app.get("/search/{name}")
    async def kept_search(name: str) -> Response:
        """For the page: a search that ended not long ago."""
        return Response(searches.kept(name), media_type="application/json", headers={"Cache-Control": "no-store"})


def _unknown() -> ApiError:
    return ApiError(404, "there is no such search here any more", code="search_not_found")
