"""The application: routes over one generator. `guided-gen serve` runs it; tests and other programs may mount it.

It runs no code of a client: programs that the model writes are run only where examples are asked for, in the judge's sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from .. import __version__
from ..engine.html_page import content_security_policy
from ..engine.search import SearchSettings
from ..generator import GuidedGenerator
from ..page import page
from ..question import Question, as_question
from ..scoring import ScoredText
from ..solving import Solving
from .access import LOOPBACK, AccessControl
from .errors import ApiError, report_errors
from .limits import ServerLimits
from .metrics import RequestMetrics
from .requests import ChatRequest, CompletionRequest, PageRequest, ScoreRequest, SearchRequest
from .responses import OpenAIAnswer, PageLines, encoded
from .service import EventStream, SearchService, while_connected

ALIAS = "guided-gen"  # a name for whatever model is served
HEADER_BYTES = 1 << 16  # of one request, all its headers together


def create_app(
    generator: GuidedGenerator,
    settings: SearchSettings | None = None,
    limits: ServerLimits | None = None,
    keys: Iterable[str] = (),
    hosts: frozenset[str] = LOOPBACK,
) -> FastAPI:
    """The server of one generator. `settings` are the search's defaults; `keys`, where there are any, must be presented; `hosts`
    are the names that it answers for, all where it is empty.
    """
    limits = limits or ServerLimits()
    app = FastAPI(title="guided-gen", version=__version__, docs_url=None, redoc_url=None)
    service = app.state.service = SearchService(generator, settings or SearchSettings(), limits)
    report_errors(app)
    _add_searches(app, service)
    _add_models(app, service)
    _add_score(app, service)
    _add_page(app, service)
    _add_health(app, service)
    paths = frozenset(getattr(route, "path", "") for route in app.routes)
    app.add_middleware(AccessControl, limits=limits, keys=tuple(keys), hosts=hosts)
    app.add_middleware(RequestMetrics, metrics=service.metrics, paths=paths)
    return app


def server_config(app: FastAPI, host: str, port: int, limits: ServerLimits) -> uvicorn.Config:
    """How uvicorn serves it: bounded headers, bounded connections, no web sockets; port 0 is any free one."""
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


def _add_searches(app: FastAPI, service: SearchService) -> None:
    async def search(request: Request, asked: ChatRequest | CompletionRequest) -> Response:
        _check_model(asked.model, _name(service))
        solving = await _begun(service, asked, asked.question())
        answer = OpenAIAnswer(asked, _name(service), service.generator.loaded.tokenizer, service.metrics.completion.inc)
        if asked.stream:
            chunks = encoded(service.events(solving), answer)
            return await EventStream.of(request, chunks, answer.media_type, service.limits)
        return JSONResponse(answer.whole(await while_connected(request, service.solution(solving))))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request, asked: ChatRequest) -> Response:
        """Search for the answer to a chat."""
        return await search(request, asked)

    @app.post("/v1/completions")
    async def completions(request: Request, asked: CompletionRequest) -> Response:
        """Search for what follows a text."""
        return await search(request, asked)


def _add_models(app: FastAPI, service: SearchService) -> None:
    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model that is served, under its name and under the alias guided-gen."""
        return {"object": "list", "data": [_model(_name(service)), _model(ALIAS)]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        """One of them."""
        _check_model(model, _name(service))
        return _model(model)


def _add_score(app: FastAPI, service: SearchService) -> None:
    limits = service.limits

    @app.post("/v1/score")
    async def score(request: Request, asked: ScoreRequest) -> Response:
        """The log-probability of every token of given texts, and the value after it where there is a value model."""
        _check_model(asked.model, _name(service))
        if len(asked.texts) > limits.texts:
            raise ApiError(400, f"up to {limits.texts} texts may be scored at once", param="texts")
        question = asked.question()

        def scored(text: str) -> dict[str, Any]:
            return _scores(service.generator.score(question, [text], limits.new_tokens)[0])

        async def read() -> list[dict[str, Any]]:
            async with service.admission.place():
                return [await asyncio.to_thread(scored, text) for text in asked.texts]

        scores = await while_connected(request, read())
        return JSONResponse({"object": "list", "model": _name(service), "data": scores})


def _add_page(app: FastAPI, service: SearchService) -> None:
    shown = page([], title="guided-gen", live=True)
    policy = content_security_policy(shown, live=True)

    @app.get("/")
    async def live_page() -> HTMLResponse:
        """A page on which to type a problem and watch the search for its answer."""
        return HTMLResponse(shown, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})

    @app.post("/search")
    async def page_search(request: Request, asked: PageRequest) -> Response:
        """For the page: JSON lines of progress, the last with the whole search."""
        solving = await _begun(service, asked.as_search(), as_question(asked.statement))
        lines = PageLines(service.generator.loaded.tokenizer, asked.statement)
        return await EventStream.of(request, encoded(service.events(solving), lines), lines.media_type, service.limits)


def _add_health(app: FastAPI, service: SearchService) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def _begun(service: SearchService, asked: SearchRequest, question: Question) -> Solving:
    """A search with what was asked for, checked and not yet decoded; on a thread, since that may take the whole vocabulary."""

    def begun() -> Solving:
        changes = asked.changes(service.generator, service.settings, service.limits, question)
        return service.generator.astream(question, service.settings, stop=asked.stops, **changes)

    return await asyncio.to_thread(begun)


def _name(service: SearchService) -> str:
    return service.generator.loaded.identity.name


def _check_model(asked: str, served: str) -> None:
    if asked not in (served, ALIAS):
        raise ApiError(404, f"there is no model {asked[:200]!r} here, only {served!r}", param="model", code="model_not_found")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "guided-gen"}


def _scores(scored: ScoredText) -> dict[str, Any]:
    values = [None if value != value else value for value in scored.values.tolist()]
    return {
        "object": "score",
        "tokens": scored.pieces,
        "token_ids": scored.token_ids.tolist(),
        "logprobs": scored.logprobs.tolist(),
        "values": values,
        "mean_logprob": scored.mean_logprob,
        "value": values[-1],
        "usage": {"prompt_tokens": scored.prompt_tokens, "total_tokens": scored.prompt_tokens + len(scored.pieces)},
    }
