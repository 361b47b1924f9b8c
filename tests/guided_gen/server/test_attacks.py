"""What hostile clients send: it is refused, or shown harmlessly; the server answers everybody else as before."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from guided_gen.data_builder.judge.isolation import IsolationError
from guided_gen.data_builder.judge.program import JudgeError
from guided_gen.engine.errors import BackendError

from ..serving import Served, serving

CHAT: dict[str, Any] = {"model": "guided-gen", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 4, "seed": 1}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def still_answers(served: Served) -> Any:
    yield
    reply = httpx.post(f"{served.url}/v1/chat/completions", json=CHAT, timeout=120)
    assert reply.status_code == 200 and reply.json()["choices"]


def raw(served: Served, data: bytes) -> bytes:
    """What the server answers to bytes on a connection of their own, until it is silent or hangs up."""
    parts = urlsplit(served.url)
    received = b""
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as connection:
        connection.sendall(data)
        with suppress(TimeoutError, ConnectionError):
            while part := connection.recv(65536):
                received += part
    return received


def error(reply: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = reply.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def test_bodies_beyond_the_limit_are_refused(served: Served) -> None:
    body = json.dumps(CHAT | {"user": "x" * 300_000})
    reply = httpx.post(f"{served.url}/v1/chat/completions", content=body, headers=JSON, timeout=120)
    assert reply.status_code == 413 and error(reply)["code"] == "body_too_large"

    def endless() -> Any:  # no length is told in advance
        for _ in range(10):
            yield b"x" * 100_000

    reply = httpx.post(f"{served.url}/v1/chat/completions", content=endless(), headers=JSON, timeout=120)
    assert reply.status_code == 413


def test_a_prompt_of_a_million_tokens_is_refused(served: Served) -> None:
    for body in ({"prompt": [5] * 1_000_000}, {"prompt": "x " * 1_000_000}, {"prompt": "x" * 150_000}):
        content = json.dumps({"model": "guided-gen", **body})
        reply = httpx.post(f"{served.url}/v1/completions", content=content, headers=JSON, timeout=120)
        assert reply.status_code in (400, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 90_000,
        b'{"model": "guided-gen", "messages": ' + b'[{"a":' * 20_000,
        b'{"model": ' + b"[" * 90_000 + b"]" * 90_000 + b"}",
        b'{"model": "guided-gen", "metadata": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b', "messages": []}',
        b"\xff\xfe{}",
        b'{"model": "guided-gen", "messages": [{"role": "user", "content": "\xc3\x28"}]}',
        b'{"model": "guided-gen", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "\\udfff", "messages": [{"role": "user", "content": "x"}]}',
        b'{"\\ud800": 1}',
        b'{"model": "guided-gen", "messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 10_000 + b"}",
        b'{"model": "guided-gen", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"model": "guided-gen", "messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
        b"",
        b"null",
        b"{",
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_broken_bodies_are_refused_in_one_sentence(served: Served, body: bytes) -> None:
    reply = httpx.post(f"{served.url}/v1/chat/completions", content=body, headers=JSON, timeout=120)
    assert reply.status_code in (400, 404) and error(reply)["message"]


def test_a_flood_of_headers_is_refused(served: Served) -> None:
    many = b"".join(b"X-%d: %s\r\n" % (i, b"y" * 100) for i in range(20_000))
    try:
        reply = raw(served, b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n")
    except OSError:  # the server hung up before all was sent
        return
    assert reply == b"" or reply.split()[1] in (b"400", b"431")


def test_bytes_that_are_not_http_are_refused(served: Served) -> None:
    for data in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 1000, b"POST /v1/score HTTP/1.1\r\n\r\n"):
        reply = raw(served, data)
        assert reply == b"" or reply.split()[1].startswith(b"4")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/models/../../../etc/passwd",
        "/v1/models/%00",
        "//etc/passwd",
        "/static/x",
    ],
)
def test_paths_lead_nowhere_else(served: Served, path: str) -> None:
    reply = raw(served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert reply.split()[1] in (b"404", b"400") and b"root:" not in reply


def test_other_host_names_and_content_types_are_refused(served: Served) -> None:
    reply = httpx.get(f"{served.url}/v1/models", headers={"Host": "evil.example"})
    assert reply.status_code == 403 and error(reply)["code"] == "unknown_host"
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):  # what a foreign page may send without being asked
        reply = httpx.post(f"{served.url}/v1/chat/completions", content=json.dumps(CHAT), headers={"Content-Type": kind})
        assert reply.status_code == 415
    assert (
        "access-control-allow-origin" not in httpx.get(f"{served.url}/health", headers={"Origin": "http://evil.example"}).headers
    )


def test_a_body_that_never_comes_is_not_waited_for(served: Served) -> None:
    parts = urlsplit(served.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=120) as connection:
        head = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        connection.sendall(head)
        assert connection.recv(100).split()[1] == b"408"


def test_html_in_a_problem_is_data(served: Served) -> None:
    attack = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"
    with httpx.stream("POST", f"{served.url}/search", json={"statement": attack, "n": 1, "max_tokens": 4}, timeout=120) as reply:
        assert reply.headers["content-type"].startswith("application/x-ndjson")
        last = [json.loads(line) for line in reply.iter_lines()][-1]
    assert last["search"]["statement"] == attack
    page = httpx.get(f"{served.url}/")
    assert "default-src 'none'" in page.headers["content-security-policy"] and attack not in page.text


def test_errors_tell_nothing_of_the_inside(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the machine's")

    monkeypatch.setattr(served.app.state.service, "solution", broken)
    reply = httpx.post(f"{served.url}/v1/chat/completions", json=CHAT)
    assert reply.status_code == 500 and "secret" not in reply.text
    error(reply)


@pytest.mark.parametrize("failure", [BackendError, JudgeError, IsolationError])
def test_what_fails_below_the_server_is_no_fault_of_the_request(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: type[Exception]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise failure("a secret of the machine's")

    monkeypatch.setattr(served.app.state.service, "solution", broken)
    reply = httpx.post(f"{served.url}/v1/chat/completions", json=CHAT)
    assert reply.status_code == 503 and error(reply)["type"] == "server_error" and "secret" not in reply.text
    assert "secret" in caplog.text


def test_metrics_and_health(served: Served) -> None:
    before = httpx.get(f"{served.url}/metrics").text
    httpx.post(f"{served.url}/v1/chat/completions", json=CHAT, timeout=120)
    httpx.get(f"{served.url}/no/such/path/{time.time()}")
    after = httpx.get(f"{served.url}/metrics").text

    def read(text: str, name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    assert read(after, "guided_gen_searched_tokens_total") > read(before, "guided_gen_searched_tokens_total")
    assert 'path="other"' in after and "no/such" not in after
    with serving(served.generator, keys=["sesame"]) as locked:
        assert httpx.get(f"{locked.url}/health").json() == {"status": "ok"}
        assert httpx.get(f"{locked.url}/metrics").status_code == 401


def test_scores_are_of_every_token(served: Served) -> None:
    texts = ["four", "Ärger 🙂 = five"]
    body = {"model": "guided-gen", "messages": CHAT["messages"], "texts": texts}
    reply = httpx.post(f"{served.url}/v1/score", json=body, timeout=120).json()
    for text, scored in zip(texts, reply["data"], strict=True):
        assert "".join(scored["tokens"]) == text
        assert len(scored["tokens"]) == len(scored["logprobs"]) == len(scored["values"]) == len(scored["token_ids"])
        assert scored["mean_logprob"] == pytest.approx(sum(scored["logprobs"]) / len(scored["logprobs"]), abs=1e-5)
        assert scored["value"] is None  # there is no value model here
    wrongs: list[dict[str, Any]] = [{"texts": []}, {"texts": [""]}, {"texts": ["x"] * 65}, {"texts": ["x"], "messages": None}]
    for wrong in (*wrongs, {"prompt": "both"}):
        assert httpx.post(f"{served.url}/v1/score", json=body | wrong, timeout=120).status_code == 400
