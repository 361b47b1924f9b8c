"""The application: routes over one generator. `guided-gen serve` runs it; tests and other programs may mount it.

It runs no code of a client: programs that the model writes are run only where examples are asked for, in the judge's sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from .. import __version__
from ..engine.search import SearchSettings
from ..generator import GuidedGenerator, Solution
from ..page import content_security_policy, page
from ..question import understood
from .answers import Answer, best_of
from .desk import ClientGone, Desk, Streamed
from .errors import ApiError, report_errors
from .gate import Gate
from .limits import LOOPBACK, Limits
from .live import page_chunks
from .metrics import Counting
from .requests import ChatRequest, CompletionRequest, PageRequest, ScoreRequest

ALIAS = "guided-gen"  # a name for whatever model is served


def create_app(
    generator: GuidedGenerator,
    settings: SearchSettings | None = None,
    limits: Limits | None = None,
    keys: Iterable[str] = (),
    hosts: frozenset[str] = LOOPBACK,
) -> FastAPI:
    """The server of one generator. `settings` are the search's defaults; `keys`, where there are any, must be presented; `hosts`
    are the names that it answers for, all where it is empty.
    """
    limits = limits or Limits()
    app = FastAPI(title="guided-gen", version=__version__, docs_url=None, redoc_url=None)
    desk = app.state.desk = Desk(generator, settings or SearchSettings(), limits)
    name = generator.loaded.identity.name
    tokenizer = generator.loaded.tokenizer
    report_errors(app)

    async def search(request: Request, asked: ChatRequest | CompletionRequest) -> Response:
        _check_model(asked.model, name)
        question = asked.question()
        chosen = await asyncio.to_thread(asked.settings, generator, desk.settings, limits, question)
        answer = Answer(asked, name, tokenizer)

        def count(solution: Solution) -> None:
            desk.metrics.completion.inc(sum(len(c.token_ids) for c in best_of(solution, asked.wanted)))

        if asked.stream:
            chunks = answer.stream(desk.events(question, chosen, stop=asked.stops), count)
            return Streamed(await desk.first(request, chunks), chunks, "text/event-stream", limits)
        solution = await desk.solve(request, question, chosen, stop=asked.stops)
        count(solution)
        return JSONResponse(answer.whole(solution))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request, asked: ChatRequest) -> Response:
        """Search for the answer to a chat."""
        return await search(request, asked)

    @app.post("/v1/completions")
    async def completions(request: Request, asked: CompletionRequest) -> Response:
        """Search for what follows a text."""
        return await search(request, asked)

    @app.post("/v1/score")
    async def score(request: Request, asked: ScoreRequest) -> Response:
        """The log-probability of every token of given texts, and the value after it where there is a value model."""
        _check_model(asked.model, name)
        if len(asked.texts) > limits.texts:
            raise ApiError(400, f"up to {limits.texts} texts may be scored at once", param="texts")
        question = asked.question()

        async def read() -> list[dict[str, Any]]:
            async with desk.admission.place():
                return [await asyncio.to_thread(_scored, generator, question, text, limits) for text in asked.texts]

        scores = await desk.while_connected(request, read())
        return JSONResponse({"object": "list", "model": name, "data": scores})

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The model that is served, under its name and under the alias guided-gen."""
        return {"object": "list", "data": [_model(name), _model(ALIAS)]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        """One of them."""
        _check_model(model, name)
        return _model(model)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(desk.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    shown = page([], title="guided-gen", live=True)
    policy = content_security_policy(shown, live=True)

    @app.get("/")
    async def live_page() -> HTMLResponse:
        """A page on which to type a problem and watch the search for its answer."""
        return HTMLResponse(shown, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})

    @app.post("/search")
    async def page_search(request: Request, asked: PageRequest) -> Response:
        """For the page: JSON lines of progress, the last with the whole search."""
        question = understood(asked.statement)
        chosen = await asyncio.to_thread(asked.as_search().settings, generator, desk.settings, limits, question)
        chunks = page_chunks(desk.events(question, chosen), tokenizer, asked.statement)
        return Streamed(await desk.first(request, chunks), chunks, "application/x-ndjson", limits)

    @app.exception_handler(ClientGone)
    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    paths = frozenset(getattr(route, "path", "") for route in app.routes)
    app.add_middleware(Gate, limits=limits, keys=tuple(keys), hosts=hosts)
    app.add_middleware(Counting, metrics=desk.metrics, paths=paths)
    return app


def _check_model(asked: str, served: str) -> None:
    if asked not in (served, ALIAS):
        raise ApiError(404, f"there is no model {asked[:200]!r} here, only {served!r}", param="model", code="model_not_found")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "guided-gen"}


def _scored(generator: GuidedGenerator, question: Any, text: str, limits: Limits) -> dict[str, Any]:
    scored = generator.score(question, [text], limits.new_tokens)[0]
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
