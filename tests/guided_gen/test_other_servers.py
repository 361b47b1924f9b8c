"""Answers of another server: this project's own, and small ones that answer as others do, in parts or with errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from guided_gen.cli import cli
from guided_gen.engine.errors import BackendError, GuidedGenError, SettingsError
from guided_gen.engine.openai_backend.endpoint import Endpoint
from guided_gen.engine.openai_backend.stream import pieces
from guided_gen.engine.search import SearchSettings
from guided_gen.engine.tree import Ended, Tree
from guided_gen.generator import GuidedGenerator
from guided_gen.question import Continuation

from .serving import Served, eventually, serving

STATEMENT = "Write a function double(x).\n\ndouble(2) == 4\ndouble(-3) == -6"
RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
WRONG = "```python\ndef double(x):\n    return x + 2\n```"


class Canned:
    """A server that answers request i with `answers[i % len(answers)]`: text in parts, in ways that differ between servers."""

    def __init__(self, answers: list[str], *, logprobs: str = "each", finish: str = "stop", status: int = 200) -> None:
        self.answers, self.logprobs, self.finish, self.status = answers, logprobs, finish, status
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def reply(self, body: dict[str, Any]) -> tuple[int, bytes]:
        self.asked.append(body)
        if self.status != 200:
            return self.status, json.dumps({"error": {"message": "the reason why"}}).encode()
        if body.get({"refused": "logprobs", "alone": "top_logprobs"}.get(self.logprobs, "")):
            return 400, b'{"error": {"message": "logprobs are not supported"}}'
        text = self.answers[body["seed"] % len(self.answers)]
        parts = [text[i : i + 7] for i in range(0, len(text), 7)]
        told = [{"token": part, "logprob": -0.1} for part in parts]
        events: list[dict[str, Any]] = [{"delta": {"role": "assistant"}}]
        for part, entry in zip(parts, told, strict=True):
            events.append({"delta": {"content": part}})
            if self.logprobs in ("each", "alone") or (self.logprobs == "beside" and body.get("top_logprobs")):
                events[-1]["logprobs"] = {"content": [entry]}
        events.append({"delta": {}, "finish_reason": self.finish})
        if self.logprobs == "last":
            events[-1]["logprobs"] = {"content": [*told, {"token": "<|end|>", "logprob": -0.2}]}
        lines = [json.dumps({"choices": [{"index": 0, **event}]}) for event in events]
        return 200, "".join(f"data: {line}\n\n" for line in [*lines, '{"choices": [], "usage": {}}', "[DONE]"]).encode()


@contextmanager
def canned(server: Canned, models: tuple[str, ...] = ("small",)) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def send(self, status: int, data: bytes, missing: int = 0) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) + missing))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            server.keys.append(self.headers["Authorization"])
            self.send(200, json.dumps({"data": [{"id": name} for name in models]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, data = server.reply(body)
            self.send(status, data, missing=0 if b"[DONE]" in data or status != 200 else 10)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1"
    finally:
        http.shutdown()
        http.server_close()


def generator(url: str, **options: Any) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(backend="openai", endpoint=Endpoint(url, **options))


@pytest.mark.parametrize("logprobs", ["each", "alone", "beside", "last", "none", "refused"])
def test_the_answer_that_passes_the_examples_is_printed(logprobs: str) -> None:
    server = Canned([WRONG, RIGHT, WRONG, "no program"], logprobs=logprobs)
    with canned(server) as url, generator(url, max_tokens=90) as other:
        solution = other.solve(STATEMENT, n=8, max_new_tokens=90, enough=2.0)
    assert solution.best.text == RIGHT and solution.best.passes and solution.best.complete
    assert {candidate.text for candidate in solution.candidates} <= {RIGHT, WRONG, "no program"}
    assert sum(candidate.multiplicity for candidate in solution.candidates) == 8
    known = logprobs not in ("none", "refused")
    assert np.isnan(solution.best.score) != known
    if known:
        assert solution.best.logprobs[:-1] == pytest.approx(-0.1)
    assert solution.best.likelihood is not None and 0 < solution.best.likelihood.probability < 1
    asked = [body for body in server.asked if body.get("logprobs") or not known]
    assert asked[0]["max_tokens"] == 90 and asked[0]["messages"][-1]["content"].startswith("Write a function double(x).")
    assert len({body["seed"] for body in server.asked}) == 8


def test_an_answer_that_the_server_cuts_is_incomplete() -> None:
    with canned(Canned([RIGHT[:20]], finish="length")) as url, generator(url) as other:
        solution = other.solve(STATEMENT, n=2, max_new_tokens=90)
    assert [candidate.ended for candidate in solution.candidates] == [Ended.LENGTH]


class BreaksOff(Canned):
    """Leaves the first answers without an end, as llama-cpp-python's server does to begin another; with `close` by closing the
    connection. `moods`: asked again, it says something else.
    """

    def __init__(self, answers: list[str], breaks: int, *, close: bool = False, moods: bool = False, **options: Any) -> None:
        super().__init__(answers, **options)
        self.breaks, self.close, self.moods, self.lock = breaks, close, moods, threading.Lock()
        self.broken: list[int] = []

    def reply(self, body: dict[str, Any]) -> tuple[int, bytes]:
        seed = body["seed"]
        status, data = super().reply(body | {"seed": seed + (self.moods and seed in self.broken)})
        with self.lock:
            if len(self.broken) == self.breaks or seed in self.broken:
                return status, data
            self.broken.append(seed)
        begun = data.split(b"\n\n")[:3]
        return status, b"\n\n".join([*begun, b"" if self.close else b"data: [DONE]\n\n"])


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("logprobs", ["each", "none"])
def test_answers_that_a_server_breaks_off_for_others_are_asked_for_again(logprobs: str, close: bool) -> None:
    server = BreaksOff([WRONG, RIGHT], 3, logprobs=logprobs, close=close)
    with canned(server) as url, generator(url) as other:
        solution = other.solve(STATEMENT, n=6, max_new_tokens=90, enough=2.0)
    assert len(server.broken) == 3 and len(server.asked) == 9 and {one.ended for one in solution.candidates} == {Ended.EOS}
    assert {one.text for one in solution.candidates} == {RIGHT, WRONG} and solution.best.text == RIGHT


def test_an_answer_that_goes_another_way_the_second_time_is_cut() -> None:
    server = BreaksOff([RIGHT, "def double(x):\n    return 2 * x"], 1, moods=True)
    with canned(server) as url, generator(url) as other:
        [only] = other.solve(STATEMENT, n=1, max_new_tokens=90, enough=2.0).candidates
    assert only.ended == Ended.LENGTH and only.text in {answer[:14] for answer in server.answers}


def test_an_answer_that_is_longer_than_asked_for_is_cut_here() -> None:
    with canned(Canned([RIGHT])) as url, generator(url) as other:
        solution = other.solve(STATEMENT, n=2, max_new_tokens=3)
    assert [(one.ended, len(one.token_ids)) for one in solution.candidates] == [(Ended.LENGTH, 3)]


def test_policies_that_only_drop_work_by_log_probability() -> None:
    with canned(Canned([RIGHT, WRONG])) as url, generator(url) as other:
        solution = other.solve(
            STATEMENT, n=8, max_new_tokens=90, policy="speculative-rejection:alpha=0.5", check_every=2, enough=2.0
        )
    assert Ended.PRUNED in {candidate.ended for candidate in solution.candidates}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"policy": "beam"}, "cannot be forked"),
        ({"policy": "mcts"}, "cannot be forked"),
        ({"policy": lambda view: 2 * view.live}, "cannot be forked"),
        ({"check_at": "lines"}, "check at tokens"),
        ({"scorer": "value"}, "no values"),
        ({"scorer": "self-certainty"}, "no distributions"),
    ],
)
def test_what_needs_tokens_says_so_in_one_sentence(changes: dict[str, Any], told: str) -> None:
    with canned(Canned([RIGHT])) as url, generator(url) as other, pytest.raises(SettingsError, match=told) as error:
        other.solve(STATEMENT, n=2, max_new_tokens=40, check_every=2, **changes)
    assert "\n" not in str(error.value)


def test_other_things_that_only_a_model_here_can_do() -> None:
    with canned(Canned([RIGHT])) as url, generator(url) as other:
        with pytest.raises(SettingsError, match="to go on with"):
            other.solve(Continuation("def f("), n=1)
        with pytest.raises(SettingsError, match="did not write"):
            other.score("Double.", ["a text"])
    for options in ({"precision": "int8"}, {"value": "folder"}):
        with pytest.raises(SettingsError):
            GuidedGenerator.from_pretrained(backend="openai", endpoint=Endpoint(url), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "told"), [(401, "401: the reason why"), (429, "429"), (503, "503")])
def test_what_the_server_says_is_told(status: int, told: str) -> None:
    with canned(Canned([RIGHT], status=status)) as url, generator(url) as other, pytest.raises(BackendError, match=told):
        other.solve(STATEMENT, n=2)


def test_a_server_that_is_not_there_or_is_none_is_told() -> None:
    with canned(Canned([RIGHT])) as url:
        pass
    with pytest.raises(BackendError, match="does not answer"):
        generator(url)
    for wrong in ("localhost:11434", "ftp://localhost", "http://", "http://a:b", ""):
        with pytest.raises(SettingsError, match="address"):
            Endpoint(wrong)


def test_the_only_model_of_a_server_need_not_be_named() -> None:
    with canned(Canned([RIGHT])) as url, generator(url) as other:
        assert other.loaded.identity.name == "small"
    with canned(Canned([RIGHT]), models=("small", "large")) as url, pytest.raises(SettingsError, match="small, large"):
        generator(url)


def test_the_tokens_that_a_server_tells_are_those_of_its_text() -> None:
    told = [{"token": "ab", "logprob": -1.0}, {"token": "c", "logprob": -2.0}, {"token": "<end>", "logprob": -3.0}]
    assert pieces("abc", told) == [("ab", -1.0), ("c", -2.0)]
    assert pieces("xyz", told) == [("xyz", -2.0)]  # of other tokens: their mean
    assert "".join(text for text, _ in pieces("ab", told)) == "ab"


def test_the_command_solves_saves_and_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "sesame")
    server = Canned([WRONG, RIGHT])
    asked = ["solve", STATEMENT, "--backend", "openai", "--n", "4", "--save", str(tmp_path / "tree.parquet")]
    with canned(server) as url:
        run = CliRunner().invoke(cli, [*asked, "--base-url", url, "--api-key-env", "OTHER_KEY"])
    assert run.exit_code == 0 and run.stdout.startswith("def double(x):\n    return 2 * x"), (run.output, run.exception)
    assert server.keys == ["Bearer sesame"]
    tree = Tree.load(tmp_path / "tree.parquet")
    assert tree.metadata["model"] == "small" and RIGHT.split("\n")[1][:7] in "".join(tree.metadata["pieces"])
    run = CliRunner().invoke(cli, ["view", str(tmp_path / "tree.parquet"), "--out", str(tmp_path / "page.html")])
    assert run.exit_code == 0 and "return 2 * x" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--backend", "openai"], "--base-url"),
        (["--base-url", "http://localhost/v1"], "--backend openai"),
        (["--backend", "openai", "--base-url", "http://localhost/v1", "--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["--backend", "openai", "--base-url", "http://localhost/v1", "--value", "folder"], "value model"),
        (["--backend", "openai", "--base-url", "http://localhost/v1", "--precision", "int8"], "precision"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(options: list[str], told: str) -> None:
    run = CliRunner().invoke(cli, ["solve", STATEMENT, *options])
    assert isinstance(run.exception, GuidedGenError) and told in str(run.exception), run.exception


@pytest.fixture(scope="module")
def own(tiny_folder: Path) -> Iterator[Served]:
    """This project's own server, one candidate a request."""
    model = GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")
    with serving(model, settings=SearchSettings(n=1, max_new_tokens=24)) as server:
        yield server


def test_this_projects_own_server_is_one_too(own: Served) -> None:
    name = own.generator.loaded.identity.name
    endpoint = Endpoint(f"{own.url}/v1", max_tokens=24)
    with GuidedGenerator.from_pretrained(name, backend="openai", endpoint=endpoint) as other:
        solution = other.solve(STATEMENT, n=6, max_new_tokens=24, seed=3)
        again = other.solve(STATEMENT, n=6, max_new_tokens=24, seed=3)
        assert {one.text for one in again.candidates} == {one.text for one in solution.candidates}
        for candidate in solution.candidates:
            assert not np.isnan(candidate.score) and candidate.ended in (Ended.EOS, Ended.LENGTH)
        assert len(solution.candidates) > 1
    assert eventually(lambda: own.idle)


def test_this_projects_own_server_need_not_be_told_its_model(own: Served) -> None:
    with generator(f"{own.url}/v1", max_tokens=24) as other:
        assert other.solve(STATEMENT, n=2, max_new_tokens=24).candidates


def test_a_page_over_another_server_watches_it(own: Served) -> None:
    import httpx

    with (
        GuidedGenerator.from_pretrained(
            "guided-gen", backend="openai", endpoint=Endpoint(f"{own.url}/v1", max_tokens=24)
        ) as other,
        serving(other) as front,
    ):
        asked = {"statement": STATEMENT, "n": 3, "max_tokens": 24}
        with httpx.stream("POST", f"{front.url}/search", json=asked, timeout=120) as reply:
            told = [json.loads(line) for line in reply.iter_lines()]
        assert sum(one["times"] for one in told[-1]["search"]["candidates"]) == 3, told[-1]
        refused = httpx.post(f"{front.url}/search", json=asked | {"policy": "beam"}, timeout=120)
        assert refused.status_code == 400 and "cannot be forked" in refused.text
        chat = {"model": "guided-gen", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
        tool = {"type": "function", "function": {"name": "f"}}
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"tools": [tool]}, "tools"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
            ({"presence_penalty": 1}, "presence_penalty"),
            ({"frequency_penalty": 1}, "frequency_penalty"),
            ({"logit_bias": {"5": 1}}, "logit_bias"),
            ({"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
            ({"min_p": 0.1}, "min_p"),
        ]
        for more, name in refusals:
            refused = httpx.post(f"{front.url}/v1/chat/completions", json=chat | more, timeout=120)
            assert refused.status_code == 400 and "another server" in refused.text and name in refused.text, refused.text


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"choices": 7}', '{"choices": [[]]}', "9" * 5000, "null"]
    + [
        f'{{"choices": [{{"delta": {{"content": "a"}}, "logprobs": {{"content": [{told}]}}}}]}}'
        for told in ("7", "{}", f'{{"token": "a", "logprob": 1{"0" * 400}}}')
    ],
)
def test_a_server_that_sends_anything_ends_the_search_in_one_sentence(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Canned([RIGHT])
    monkeypatch.setattr(server, "reply", lambda body: (200, f"data: {line}\n\ndata: [DONE]\n\n".encode()))
    with canned(server) as url, generator(url) as other, pytest.raises(BackendError, match="does not speak OpenAI's API") as told:
        other.solve(STATEMENT, n=1, max_new_tokens=9)
    assert "\n" not in str(told.value)
