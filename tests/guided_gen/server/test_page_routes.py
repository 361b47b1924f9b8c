"""What the page asks of the server: a search as frames, its end on demand, and searches that are kept."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from guided_gen.server.errors import ApiError
from guided_gen.server.page_lines import FRAME_SECONDS, PageLines, page_lines
from guided_gen.server.page_routes import PageSearches
from guided_gen.solution import Event, Grown, Progress, Standing

from ..serving import Served, eventually

ASKED: dict[str, Any] = {"statement": "Double a number.\n\ndouble(2) == 4", "n": 4, "max_tokens": 40, "policy": "beam:width=2"}


def lines(served: Served, **changes: Any) -> list[dict[str, Any]]:
    with httpx.stream("POST", f"{served.url}/search", json=ASKED | changes, timeout=120) as reply:
        return [json.loads(line) for line in reply.iter_lines()]


def test_frames_grow_the_tree_that_the_search_ends_with(served: Served) -> None:
    first, *frames, last = lines(served)
    search = last["search"]
    assert first["name"] == search["name"] and frames
    nodes = [node for line in frames for node in line["frame"]["nodes"]]
    assert [parent for parent, _ in nodes] == search["parents"] and [text for _, text in nodes] == search["texts"]
    standing = {sample[0]: sample for line in frames for sample in line["frame"]["samples"]}
    ends = sorted(leaf for _, leaf, *_ in standing.values())
    assert ends == sorted(one["leaf"] for one in search["candidates"] for _ in range(one["times"]))
    assert {state for _, _, _, state, *_ in standing.values()} <= {"pruned", "cut", "fails", "passes"}
    dropped = sum(count for row in search["timeline"] for what, count in row[3] if what == "pruned")
    assert dropped == sum(one["times"] for one in search["candidates"] if one["ended"] == "pruned")


def test_a_kept_search_is_found_by_its_name_alone(served: Served) -> None:
    *_, last = lines(served)
    name = last["search"]["name"]
    assert httpx.get(f"{served.url}/search/{name}").json() == last
    assert httpx.get(f"{served.url}/search/unknown").status_code == 404
    assert httpx.post(f"{served.url}/search/unknown/stop", json={}).status_code == 404
    assert httpx.post(f"{served.url}/search/{name}/stop", json={}).status_code == 200  # it has ended already


def test_kept_searches_are_bounded_and_the_oldest_go_first() -> None:
    searches = PageSearches(kept_bytes=250)
    for i in range(4):
        searches.keep(str(i), b"x" * 100)
    assert [searches.kept(name) for name in "23"] == [b"x" * 100] * 2
    for name in "01":
        with pytest.raises(ApiError):
            searches.kept(name)
    searches.keep("large", b"x" * 1000)  # what was searched for last is there, whatever its size
    assert searches.kept("large")


def test_stop_ends_a_search_with_what_there_is(endless_server: Served) -> None:
    asked = ASKED | {"max_tokens": 2900, "n": 2, "policy": "best-of-n"}
    seen = []
    with httpx.stream("POST", f"{endless_server.url}/search", json=asked, timeout=120) as reply:
        for line in reply.iter_lines():
            seen.append(json.loads(line))
            if len(seen) == 3:
                assert httpx.post(f"{endless_server.url}/search/{seen[0]['name']}/stop", json={}).status_code == 200
    search = seen[-1]["search"]
    assert 0 < len(search["texts"]) < 2 * 2900
    assert "stopped" in {one["ended"] for one in search["candidates"]}
    assert eventually(lambda: endless_server.idle)


def test_a_search_that_is_not_wanted_any_more_is_not_kept(endless_server: Served) -> None:
    with httpx.stream("POST", f"{endless_server.url}/search", json=ASKED | {"max_tokens": 2900}, timeout=120) as reply:
        name = json.loads(next(reply.iter_lines()))["name"]
    assert eventually(lambda: endless_server.idle)
    assert httpx.get(f"{endless_server.url}/search/{name}").status_code == 404


async def told(events: AsyncGenerator[Event, None]) -> list[dict[str, Any]]:
    class Letters:
        def __call__(self, text: str, **_: Any) -> dict[str, Any]:
            return {"input_ids": [ord(one) for one in text]}

        def batch_decode(self, lists: Any, **_: Any) -> list[str]:
            return ["".join(map(chr, ids)) for ids in lists]

    return [json.loads(line) async for line in page_lines(events, PageLines(Letters(), "x", "name"))]


def step(i: int, score: float | None = None) -> list[Event]:
    sample = Standing(leaf=i, fork=-1, state="grows", score=score, probability=None, examples=None)
    return [Grown(i, [i - 1], [97 + i % 26], [sample]), Progress(1, 0, i + 1, i / 1000, math.nan)]


def test_fast_steps_are_told_in_few_frames_and_none_is_lost() -> None:
    async def events() -> AsyncGenerator[Event, None]:
        for i in range(200):
            for event in step(i):
                yield event
        await asyncio.sleep(2 * FRAME_SECONDS)  # no step comes: what is known is told all the same
        raise ApiError(503, "broken")

    _, *frames, last = asyncio.run(told(events()))
    assert last["error"]["message"] == "broken"
    assert 1 <= len(frames) < 200
    assert [text for frame in frames for _, text in frame["frame"]["nodes"]] == [chr(97 + i % 26) for i in range(200)]
    assert frames[-1]["frame"]["samples"] == [[0, 199, -1, "grows", None, None, None]]


def test_who_did_not_change_is_not_told_again() -> None:
    async def events() -> AsyncGenerator[Event, None]:
        for event in step(0, 0.5):
            yield event
        await asyncio.sleep(2 * FRAME_SECONDS)
        yield Grown(1, [], [], [Standing(0, -1, "grows", 0.5, None, None), Standing(-1, -1, "grows", None, None, None)])
        await asyncio.sleep(2 * FRAME_SECONDS)
        raise ApiError(503, "broken")

    _, _, frame, _ = asyncio.run(told(events()))
    assert [sample[0] for sample in frame["frame"]["samples"]] == [1]
    assert frame["frame"]["decisions"] == [["begun", 1]]
