"""What is noted of requests: ids in answers, JSON lines, times by path; and never what was said."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from guided_gen.generator import GuidedGenerator
from guided_gen.server.request_log import AccessLog

from ..serving import Served, eventually, serving

CHAT = {"model": "guided-gen", "messages": [{"role": "user", "content": "a secret word"}], "max_tokens": 8, "seed": 1}


@pytest.fixture(scope="module")
def noted(tiny_folder: Path) -> Iterator[tuple[Served, io.StringIO]]:
    file = io.StringIO()
    generator = GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")
    with serving(generator, access=AccessLog(file), keys=["sesame"]) as server:
        yield server, file


def post(server: Served, body: object, **headers: str) -> httpx.Response:
    given = {"Authorization": "Bearer sesame"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=given, timeout=120)


def test_every_answer_has_an_id_which_may_be_the_clients_own(noted: tuple[Served, io.StringIO]) -> None:
    server, _ = noted
    ids = [post(server, body).headers["x-request-id"] for body in (CHAT, CHAT, {})]
    assert len(set(ids)) == 3
    assert post(server, {}, x_request_id="mine-1.2_3").headers["x-request-id"] == "mine-1.2_3"
    for bad in ("a b", "x" * 129, '"quoted"'):
        assert post(server, {}, x_request_id=bad).headers["x-request-id"].startswith("req_")
    assert httpx.get(f"{server.url}/v1/models").headers["x-request-id"].startswith("req_")  # refused: no key


def test_a_line_for_each_request_tells_its_times_and_not_its_text(noted: tuple[Served, io.StringIO]) -> None:
    server, file = noted
    name = post(server, CHAT).headers["x-request-id"]
    httpx.get(f"{server.url}/nowhere?word=hidden")
    assert eventually(lambda: "/nowhere" in file.getvalue() and name in file.getvalue())
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    [line] = [line for line in lines if line["request_id"] == name]
    assert (line["status"], line["method"], line["path"]) == (200, "POST", "/v1/chat/completions")
    assert 0 <= line["queue_seconds"] <= line["first_token_seconds"] <= line["seconds"] and line["bytes"] > 100
    refused = lines[-1]
    assert refused["status"] == 401 and refused["first_token_seconds"] is None
    for hidden in ("secret", "hidden", "sesame"):
        assert hidden not in file.getvalue()


@pytest.mark.parametrize("streamed", [False, True])
def test_times_are_measured_by_path(noted: tuple[Served, io.StringIO], streamed: bool) -> None:
    server, _ = noted
    count = {}
    for when in ("before", "after"):
        text = httpx.get(f"{server.url}/metrics", headers={"Authorization": "Bearer sesame"}).text
        for name in ("queue", "first_token"):
            line = f'guided_gen_{name}_seconds_count{{path="/v1/chat/completions"}} '
            count[when, name] = float(text.partition(line)[2].partition("\n")[0] or 0)
        if when == "before":
            post(server, CHAT | {"stream": streamed})
            assert eventually(lambda: server.idle)
    assert all(count["after", name] == count["before", name] + 1 for name in ("queue", "first_token"))


def test_a_log_that_cannot_be_written_ends_and_nothing_else() -> None:
    class Full(io.StringIO):
        written = 0

        def write(self, text: str) -> int:
            self.written += 1
            raise OSError(28, "No space left on device")

    file = Full()
    log = AccessLog(file)
    log.write({})
    log.write({})
    assert file.written == 1
