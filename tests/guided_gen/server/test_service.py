"""What a search costs the server is bounded and counted, whatever its client does. Requests go straight to the application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import SearchSettings
from guided_gen.server.app import create_app

from ..serving import LIMITS, Served, eventually

GREEDY = SearchSettings(n=1, max_new_tokens=24, sampling=Sampling(temperature=0))
CHAT: dict[str, Any] = {"model": "guided-gen", "messages": [{"role": "user", "content": "Hello."}], "seed": 1}
PAGE: dict[str, Any] = {"statement": "Hello.", "n": 1, "seed": 1}
ENDLESS = {"max_tokens": 2900}
STREAMS = [("/v1/chat/completions", CHAT | {"stream": True}), ("/search", PAGE)]


async def ask(
    app: Any, path: str, body: dict[str, Any], send: Callable[[Any], Awaitable[None]], leave: asyncio.Event | None = None
) -> None:
    """One request, whose client hangs up once `leave` is set."""
    told = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive() -> dict[str, Any]:
        if told:
            return told.pop()
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
    async with asyncio.timeout(120):
        await app(scope | {"scheme": "http", "http_version": "1.1", "root_path": "", "asgi": {"version": "3.0"}}, receive, send)


def counted(app: Any, name: str) -> float:
    lines = app.state.service.metrics.text().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"guided_gen_{name}_total ")).split()[1])


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_a_client_that_does_not_read_holds_a_search_for_a_bounded_time(
    endless_server: Served, path: str, body: dict[str, Any]
) -> None:
    app = create_app(endless_server.generator, GREEDY, replace(LIMITS, seconds=0.5, reading_seconds=0.5))

    async def send(_: Any) -> None:
        await asyncio.Event().wait()  # for ever

    asyncio.run(ask(app, path, body | ENDLESS, send))
    assert eventually(lambda: Served("", endless_server.generator, app).idle)
    assert counted(app, "abandoned_searches") == 1


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_a_search_has_left_its_place_when_the_last_data_are_sent(served: Served, path: str, body: dict[str, Any]) -> None:
    app = create_app(served.generator, GREEDY, LIMITS)
    running: list[int] = []
    data = b""

    async def send(message: Any) -> None:
        nonlocal data
        data += message.get("body", b"")
        running.append(app.state.service.admission.running)

    asyncio.run(ask(app, path, body, send))
    assert running[1] == 1 and running[-2:] == [0, 0]  # of the first data, and of the last and the end
    assert (b"[DONE]" in data) != (b'{"search":' in data)
    assert counted(app, "abandoned_searches") == 0


def test_the_tokens_of_the_pages_searches_are_counted(served: Served) -> None:
    app = create_app(served.generator, GREEDY, LIMITS)
    lines: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        lines.extend(map(json.loads, message.get("body", b"").splitlines()))

    asyncio.run(ask(app, "/search", PAGE, send))
    frames = [line["frame"] for line in lines if "frame" in line]
    assert counted(app, "searched_tokens") == frames[-1]["tokens"] > 0
    assert counted(app, "prompt_tokens") > 0


def test_a_stream_that_is_left_is_an_abandoned_search(endless_server: Served) -> None:
    app = create_app(endless_server.generator, GREEDY, LIMITS)

    async def leaving() -> None:
        leave, sent = asyncio.Event(), 0

        async def send(_: Any) -> None:
            nonlocal sent
            sent += 1
            if sent == 6:
                leave.set()

        await ask(app, "/v1/chat/completions", CHAT | ENDLESS | {"stream": True}, send, leave)

    asyncio.run(leaving())
    assert counted(app, "abandoned_searches") == 1 and counted(app, "searched_tokens") > 0
    assert eventually(lambda: Served("", endless_server.generator, app).idle)


@pytest.mark.parametrize(
    ("path", "body", "searches"),
    [
        ("/v1/chat/completions", CHAT | ENDLESS, 1),
        ("/v1/score", {"model": "guided-gen", "messages": CHAT["messages"], "texts": ["four"]}, 0),
    ],
)
def test_what_is_left_before_its_answer_counts_if_it_is_a_search(
    endless_server: Served, path: str, body: dict[str, Any], searches: int
) -> None:
    app = create_app(endless_server.generator, GREEDY, LIMITS)
    statuses: list[int] = []

    async def leaving() -> None:
        leave = asyncio.Event()
        leave.set()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await ask(app, path, body, send, leave)

    asyncio.run(leaving())
    assert statuses == [499] and counted(app, "abandoned_searches") == searches
    assert eventually(lambda: Served("", endless_server.generator, app).idle)
