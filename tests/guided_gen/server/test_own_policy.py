"""Which searches a server's fitted policy guides: those that its curve was fitted for, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from guided_gen.engine.policies import EarlyStop, ThresholdCurve
from guided_gen.engine.search import SearchSettings
from guided_gen.generator import GuidedGenerator

from ...engine.made_up import MadeUpModel
from ..serving import Served, serving

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Write a function f(x)."}]}
ALL_BUT_ONE = EarlyStop(ThresholdCurve((16,), (2.0,), fitted_every=16))  # above every value


@pytest.fixture(scope="module")
def valued(served: Served) -> Iterator[Served]:
    """A server with a value model, as --value auto finds it, and a fitted policy."""
    generator = GuidedGenerator(replace(served.generator.loaded, language_model=MadeUpModel()))
    with serving(generator, settings=SearchSettings(n=4, max_new_tokens=40, policy=ALL_BUT_ONE)) as server:
        yield server


def answer(server: Served, question: dict[str, Any], guided: dict[str, Any]) -> httpx.Response:
    path = "completions" if "prompt" in question else "chat/completions"
    body = {"model": "guided-gen", "n": 4, "seed": 1, "guided": guided, **question}
    return httpx.post(f"{server.url}/v1/{path}", json=body, timeout=120)


@pytest.mark.parametrize(
    ("question", "guided", "stopped"),
    [
        (CHAT, {}, 0),
        ({"prompt": "def f(x):"}, {}, 0),
        (CHAT, {"check_every": 24}, 0),
        (CHAT, {"scorer": "logprob", "policy": "best-of-n"}, 0),
        (CHAT, {"examples": True}, 3),
        (CHAT, {"examples": True, "check_every": 32}, 3),
        (CHAT, {"scorer": "value"}, 3),
    ],
)
def test_it_guides_what_its_curve_was_fitted_for(
    valued: Served, question: dict[str, Any], guided: dict[str, Any], stopped: int
) -> None:
    ended = [choice["guided"]["ended"] for choice in answer(valued, question, guided).json()["choices"]]
    assert (len(ended), ended.count("stopped")) == (4, stopped)


@pytest.mark.parametrize(
    ("guided", "param"),
    [
        ({"scorer": "logprob"}, "guided.scorer"),
        ({"scorer": "length", "examples": True}, "guided.scorer"),
        ({"examples": True, "check_every": 24}, "guided.check_every"),
        ({"scorer": "value", "check_at": "lines"}, "guided.check_at"),
    ],
)
def test_a_request_that_contradicts_it_has_to_name_another(valued: Served, guided: dict[str, Any], param: str) -> None:
    refused = answer(valued, CHAT, guided)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == param
    assert answer(valued, CHAT, guided | {"policy": "best-of-n"}).status_code == 200
