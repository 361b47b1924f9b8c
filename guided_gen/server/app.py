"""The application: routes over one generator. `guided-gen serve` runs it; tests and other programs may mount it.

It runs no code of a client: programs that the model writes are run only where examples are asked for, in the judge's sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError

from .. import __version__
from ..engine.openai_backend.model import ALIAS
from ..engine.search import SearchSettings
from ..generator import GuidedGenerator
from ..scoring import ScoredText
from ..solving import Solving
from .access import LOOPBACK, AccessControl
from .chat_request import ChatRequest
from .conversations import Conversations
from .errors import ApiError, report_errors
from .limits import ServerLimits
from .page_routes import add_page
from .request_log import AccessLog, NotedRequests
from .requests import CompletionRequest, ScoreRequest
from .responses import OpenAIAnswer, encoded, message_of
from .responses_answer import ResponsesAnswer
from .responses_request import ResponsesRequest
from .service import EventStream, SearchService, while_connected
from .tool_calls import ToolCall


def create_app(
    generator: GuidedGenerator,
    settings: SearchSettings | None = None,
    limits: ServerLimits | None = None,
    keys: Iterable[str] = (),
    hosts: frozenset[str] = LOOPBACK,
    access: AccessLog | None = None,
) -> FastAPI:
    """The server of one generator. `settings` are the search's defaults; `keys`, where there are any, must be presented; `hosts`
    are the names that it answers for, all where it is empty; `access` is told of each request.
    """
    limits = limits or ServerLimits()
    app = FastAPI(title="guided-gen", version=__version__, docs_url=None, redoc_url=None)
    service = app.state.service = SearchService(generator, settings or SearchSettings(), limits)
    report_errors(app)
    _add_searches(app, service)
    _add_responses(app, service)
    _add_models(app, service)
    _add_score(app, service)
    add_page(app, service)
    _add_health(app, service)
    paths = frozenset(getattr(route, "path", "") for route in app.routes)
    app.add_middleware(AccessControl, limits=limits, keys=tuple(keys), hosts=hosts)
    app.add_middleware(NotedRequests, metrics=service.metrics, paths=paths, access=access)
    return app


def _add_searches(app: FastAPI, service: SearchService) -> None:
    async def search(request: Request, asked: ChatRequest | CompletionRequest) -> Response:
        _check_model(asked.model, _name(service))
        solving = await service.begun(asked, asked.question)
        tokenizer, count = service.generator.loaded.tokenizer, service.metrics.completion.inc
        answer = OpenAIAnswer(asked, _name(service), tokenizer, count, service.fingerprint)
        return await _answered(service, request, solving, answer, streamed=bool(asked.stream))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request, asked: ChatRequest) -> Response:
        """Search for the answer to a chat."""
        return await search(request, asked)

    @app.post("/v1/completions")
    async def completions(request: Request, asked: CompletionRequest) -> Response:
        """Search for what follows a text."""
        return await search(request, asked)


def _add_responses(app: FastAPI, service: SearchService) -> None:
    conversations = Conversations()

    @app.post("/v1/responses")
    async def responses(request: Request, asked: ResponsesRequest) -> Response:
        """OpenAI's Responses API: a text or items in, items out; `previous_response_id` goes on with what was answered."""
        _check_model(asked.model, _name(service))
        earlier = [] if asked.previous_response_id is None else conversations.messages(asked.previous_response_id)
        new = asked.messages()
        try:
            chat = asked.chat(earlier)
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_context=False)) from error

        def finish(name: str, content: str, calls: list[ToolCall]) -> None:
            if asked.store is not False:
                conversations.hold(name, [*earlier, *new, message_of(content, calls)])

        solving = await service.begun(chat, chat.question)
        tokenizer, count = service.generator.loaded.tokenizer, service.metrics.completion.inc
        answer = ResponsesAnswer(asked, chat, _name(service), tokenizer, count, finish)
        return await _answered(service, request, solving, answer, streamed=bool(asked.stream))


async def _answered(
    service: SearchService, request: Request, solving: Solving, answer: OpenAIAnswer | ResponsesAnswer, streamed: bool
) -> Response:
    """A search's answer, as a stream or whole."""
    if streamed:
        chunks = encoded(service.events(solving), answer)
        return await EventStream.of(request, chunks, answer.media_type, service.limits)
    return JSONResponse(answer.whole(await while_connected(request, service.solution(solving))))


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


def _add_health(app: FastAPI, service: SearchService) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


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
