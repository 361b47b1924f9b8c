"""Slow clients hold up nobody but themselves, and a server that is told to end says its last words."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from guided_gen.cli import cli
from guided_gen.engine.errors import GuidedGenError, SettingsError
from guided_gen.server.http_server import LATE, bound_socket
from guided_gen.server.limits import ServerLimits

from ..serving import Served, eventually, serving

QUICK = ServerLimits(searches=1, waiting=1, new_tokens=3000, header_seconds=1, reading_seconds=1)
CHAT: dict[str, Any] = {"model": "guided-gen", "messages": [{"role": "user", "content": "Hello."}], "temperature": 0}


@pytest.fixture(scope="module")
def quick(endless_server: Served) -> Iterator[Served]:
    with serving(endless_server.generator, QUICK) as server:
        yield server


def connected(served: Served, data: bytes = b"") -> socket.socket:
    parts = urlsplit(served.url)
    connection = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=60)
    connection.sendall(data)
    return connection


def to_the_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionError:
        pass
    return received


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nHost: local"])
def test_headers_that_do_not_come_are_not_waited_for(quick: Served, begun: bytes) -> None:
    with connected(quick, begun) as connection:
        assert to_the_end(connection) == LATE


def test_a_second_request_that_does_not_come_is_not_waited_for(quick: Served) -> None:
    with connected(quick, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        assert to_the_end(connection).endswith(LATE)


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /health HTTP/1.1\r\nHost: local",
        b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["headers", "body"],
)
def test_slow_clients_do_not_take_the_places_of_others(quick: Served, begun: bytes) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(quick, begun)) for _ in range(QUICK.connections + 10)]
        for _ in range(3):
            assert httpx.get(f"{quick.url}/health", timeout=60).status_code == 200
        assert to_the_end(slow[0]) in (b"", LATE)


def test_a_client_that_reads_nothing_is_let_go(quick: Served) -> None:
    body = json.dumps({"model": "guided-gen", "prompt": "x", "texts": ["y" * 900] * 64}).encode()  # much to be told of
    head = f"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        parts = urlsplit(quick.url)
        connection.connect((str(parts.hostname), int(parts.port or 0)))
        connection.sendall(head.encode() + body)
        address = connection.getsockname()
        states = quick.server.server_state
        assert eventually(lambda: any(one.client == address for one in list(states.connections)))
        assert eventually(lambda: not any(one.client == address for one in list(states.connections)))


def test_two_lengths_of_one_body_close_the_connection(quick: Served) -> None:
    head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(quick, head + both) as connection:
        received = to_the_end(connection)
    assert received.split()[1] == b"400" and b"connection: close" in received.lower()
    assert received.count(b"HTTP/1.1") == 1  # what followed was not taken for a request


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/nowhere"])
def test_head_is_get_without_a_body(quick: Served, path: str) -> None:
    whole, head = httpx.get(quick.url + path), httpx.head(quick.url + path)
    assert head.status_code == whole.status_code and head.content == b""
    assert head.headers["content-length"] == str(len(whole.content))


def test_the_page_is_shown_in_no_frame_and_runs_one_script(quick: Served) -> None:
    policy = httpx.get(quick.url).headers["content-security-policy"]
    parts = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    assert parts["frame-ancestors"] == parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert parts["script-src"].startswith("'sha256-") and " " not in parts["script-src"]


def test_a_server_that_ends_sends_the_best_answers_so_far(endless_server: Served) -> None:
    answers: dict[str, Any] = {}

    def ask(name: str) -> None:
        answers[name] = httpx.post(f"{server.url}/v1/chat/completions", json=CHAT | {"max_tokens": 2900}, timeout=120)

    with serving(endless_server.generator, QUICK) as server:
        clients = [threading.Thread(target=ask, args=(name,)) for name in ("decoded", "waiting")]
        service = server.app.state.service
        clients[0].start()
        assert eventually(lambda: server.generator.scheduler.live == 1)
        clients[1].start()
        assert eventually(lambda: service.admission.waiting == 1)
    for client in clients:
        client.join()
    codes = sorted(answer.status_code for answer in answers.values())
    assert codes == [200, 503], [answer.text for answer in answers.values()]
    (answer,) = [answer.json() for answer in answers.values() if answer.status_code == 200]
    assert answer["choices"][0]["finish_reason"] == "length" and 0 < answer["usage"]["completion_tokens"] < 2900


def test_sigterm_ends_the_command_with_the_best_answer_so_far(endless_folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "guided_gen", "serve", "--port", str(port), "--model", str(endless_folder)]
    server = subprocess.Popen([*command, "--precision", "float32", "--value", "none", "--most-new-tokens", "3000"])
    try:

        def up() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
            except httpx.HTTPError:
                return False

        assert eventually(up)
        body = CHAT | {"max_tokens": 2900, "stream": True, "guided": {"n": 1}}
        text = ""
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=120) as reply:
            for number, line in enumerate(reply.iter_lines()):
                text += line
                if number == 3:
                    os.kill(server.pid, signal.SIGTERM)
        assert text.endswith("data: [DONE]") and '"finish_reason": "length"' in text
        assert server.wait(60) == -signal.SIGTERM
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--n", "65"], "--n 65 is above --most-candidates 64"),
        (["--max-new-tokens", "4000"], "--max-new-tokens 4000 is above --most-new-tokens 2048"),
        (["--searches", "0"], "searches"),
        (["--waiting", "-1"], "waiting"),
        (["--most-seconds", "nan"], "seconds"),
        (["--most-seconds", "inf"], "seconds"),
        (["--most-body-bytes", "-5"], "bytes of a body"),
        (["--most-prompt-tokens", "0"], "tokens of a prompt"),
        (["--n", "0"], "candidates"),
        (["--port", "65536"], "65535"),
        (["--port", "-1"], "65535"),
        (["--host", "no such host"], "no address"),
        (["--port", "TAKEN"], "cannot be listened at"),
    ],
)
def test_settings_are_checked_before_the_model_is_looked_for(options: list[str], told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = [str(taken.getsockname()[1]) if option == "TAKEN" else option for option in options]
        run = CliRunner().invoke(cli, ["serve", "--port", "0", "--model", "no-such-model", "--value", "none", *given])
    assert isinstance(run.exception, GuidedGenError) and told in str(run.exception), run.exception
    assert "no-such-model" not in str(run.exception)


def test_nobody_is_let_in_before_the_model_is_there() -> None:
    with bound_socket("127.0.0.1", 0) as bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname(), timeout=10)
    with pytest.raises(SettingsError):
        bound_socket("127.0.0.1", 1 << 16)
