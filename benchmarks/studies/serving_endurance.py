"""Many clients, many of whom hang up, and slow ones: does the server leak memory, cache nodes or threads, is every answer its
question's, and are those that are under way sent when it is told to end?

python -m guided_gen.benchmarks.studies.serving_endurance [--minutes 10] [--clients 64] [--model NAME] [--json]

The server is a process of its own; without --model its weights are random, with the default model's tokens. Half of the
requests ask for a sentence about a word, half for a call of a tool whose argument can be nothing but the word; of each, half as
a stream. An answer is foreign if it has another question's word and not its own, if it is another call, or, where a float32
model is asked greedily (--greedy), if it equals another question's sentence. Before the clients come, each sentence is asked
for alone, and later answers that are equal to these are counted (in another batch, rounding may turn a draw). Beside them some
send headers slowly, and somebody asks once a second whether the server answers. At the end SIGTERM comes while all are asking.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx

from guided_gen.benchmarks.studies.schema_answers import random_model

WORDS = ("apple", "brick", "cloud", "drum", "eagle", "flute", "grape", "horse", "island", "jacket", "kettle", "lemon")
HANGS_UP = 0.4  # the share of requests whose client does not wait for the end
START_SECONDS = 900
CALL_TOKENS = 150  # of a call, whose white space a model of random weights draws out


@dataclass(frozen=True)
class Question:
    """`alone`: what is answered where nothing else is asked; None for a call of a tool."""

    word: str
    body: dict[str, Any]
    alone: str | None = None


@dataclass
class Counts:
    """`statuses` of answers; `health_seconds`: the longest time in which the server said that it is well."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    foreign: list[tuple[str, str]] = field(default_factory=list)
    health_seconds: float = 0.0


@click.command()
@click.option("--model", default=None, help="A model as it is, in the place of random weights.")
@click.option("--precision", default="auto", show_default=True)
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--clients", default=64, show_default=True)
@click.option("--n", default=2, show_default=True, help="Candidates of each search.")
@click.option("--tokens", default=24, show_default=True, help="Longest sentence.")
@click.option("--patience", default=8.0, show_default=True, help="Seconds after which a client that hangs up has done so.")
@click.option("--slow", default=20, show_default=True, help="Clients that send headers, and no end of them.")
@click.option("--greedy", is_flag=True, help="Temperature 0: an answer is foreign that equals another question's.")
@click.option("--json", "as_json", is_flag=True)
def main(model: str | None, as_json: bool, **options: Any) -> None:
    """Exits with 1 where a cache, a search or a thread is left, an answer is another question's, the server failed (5xx) or broke
    off an answer, was silent for more than a second, or memory grew by more than a tenth after half of the time.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = _endured(model or random_model(Path(folder)), **options)
    click.echo(json.dumps(figures) if as_json else "\n".join(f"{name:>24}: {value}" for name, value in figures.items()))
    wrong = [
        figures[name] for name in ("foreign_answers", "live_searches", "cached_tokens", "server_errors", "broken_at_the_end")
    ]
    grew = figures["mb_after"] > 1.1 * figures["mb_at_half_time"]
    sys.exit(bool(any(wrong) or grew or figures["more_threads"] > 0 or figures["health_seconds"] > 1))


def _endured(model: str, precision: str, **options: Any) -> dict[str, Any]:
    """The figures of a server of its own for this model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "guided_gen", "serve", "--port", str(port), "--model", model, "--precision", precision]
    server = subprocess.Popen([*command, "--waiting", str(2 * options["clients"])])
    try:
        figures = asyncio.run(_endure(server.pid, f"http://127.0.0.1:{port}", **options))
    finally:
        server.terminate()
        exit_code = server.wait()
    return figures | {"exit_code": exit_code}


async def _endure(
    pid: int, url: str, minutes: float, clients: int, n: int, tokens: int, patience: float, slow: int, greedy: bool
) -> dict[str, Any]:
    seconds = minutes * 60
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=None)) as http:
        await _until_up(http)
        body: dict[str, Any] = {"model": "guided-gen", "max_tokens": tokens, "guided": {"n": n}}
        if greedy:
            body["temperature"] = 0
        questions = await _questions(http, body)
        counts = Counts()
        samples = [_process(pid)]
        end = time.monotonic() + seconds
        work = [asyncio.create_task(_client(http, i, questions, end, patience, counts)) for i in range(clients)]
        beside = [asyncio.create_task(_slow(url, end)) for _ in range(slow)] + [asyncio.create_task(_well(http, end, counts))]
        half: dict[str, int] | None = None
        while not all(task.done() for task in work):
            await asyncio.wait(work, timeout=10)
            samples.append(_process(pid))
            if half is None and time.monotonic() > end - seconds / 2:
                half = samples[-1]
        await asyncio.gather(*work, *beside)
        left = await _left(http)
        last = _process(pid)
        at_the_end = await _ended(http, pid, questions, clients)
    half = half or samples[0]
    return {
        **counts.requests,
        "statuses": dict(counts.statuses),
        "server_errors": sum(count for status, count in counts.statuses.items() if status >= 500),
        "health_seconds": round(counts.health_seconds, 2),
        "foreign_answers": len(counts.foreign),
        "foreign": counts.foreign[:3],
        **left,
        "mb_before": samples[0]["kb"] // 1024,
        "mb_at_half_time": half["kb"] // 1024,
        "mb_after": last["kb"] // 1024,
        "threads_at_half_time": half["threads"],
        "threads_after": last["threads"],
        "more_threads": last["threads"] - max(sample["threads"] for sample in samples[: len(samples) // 2 + 1]),
        **at_the_end,
    }


async def _questions(http: httpx.AsyncClient, common: dict[str, Any]) -> list[Question]:
    """For each word one for a sentence, which is asked once, and one for a call."""
    found = []
    for seed, word in enumerate(WORDS):
        asked = {"role": "user", "content": f"Write one sentence about the word {word}."}
        body = common | {"seed": seed, "messages": [asked]}
        found.append(Question(word, body, await _whole(http, body)))
        argument = {
            "type": "object",
            "properties": {"word": {"const": word}},
            "required": ["word"],
            "additionalProperties": False,
        }
        tool = {"type": "function", "function": {"name": "note", "description": "Note a word.", "parameters": argument}}
        found.append(Question(word, body | {"tools": [tool], "tool_choice": "required", "max_tokens": CALL_TOKENS}))
    return found


async def _slow(url: str, end: float) -> None:
    """Sends a header a second, again and again on new connections."""
    host, port = url.removeprefix("http://").split(":")
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(b"GET /health HTTP/1.1\r\n")
            refused = asyncio.ensure_future(reader.read(1000))
            while time.monotonic() < end and not refused.done():
                writer.write(b"X-Slow: x\r\n")
                await writer.drain()
                await asyncio.wait([refused], timeout=1)
            refused.cancel()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def _well(http: httpx.AsyncClient, end: float, counts: Counts) -> None:
    while time.monotonic() < end:
        begun = time.monotonic()
        (await http.get("/health")).raise_for_status()
        counts.health_seconds = max(counts.health_seconds, time.monotonic() - begun)
        await asyncio.sleep(1)


async def _ended(http: httpx.AsyncClient, pid: int, questions: list[Question], clients: int) -> dict[str, int]:
    """SIGTERM while all ask: what is decoded is answered, what waits is refused (503), and no answer breaks off."""
    longer = [question.body | {"max_tokens": 2000} for question in questions if question.alone is not None]

    async def ask(i: int) -> str:
        try:
            if i % 2:
                await _streamed(http, longer[i % len(longer)])
            else:
                await _whole(http, longer[i % len(longer)])
            return "answered"
        except httpx.HTTPStatusError as error:
            return "refused" if error.response.status_code == 503 else "broken"
        except (httpx.HTTPError, ValueError):
            return "broken"

    asking = [asyncio.create_task(ask(i)) for i in range(clients)]
    await asyncio.sleep(3)
    os.kill(pid, signal.SIGTERM)
    found = Counter(await asyncio.gather(*asking))
    return {f"{what}_at_the_end": found[what] for what in ("answered", "refused", "broken")}


async def _client(
    http: httpx.AsyncClient, number: int, questions: list[Question], end: float, patience: float, counts: Counts
) -> None:
    dice = random.Random(number)
    while time.monotonic() < end:
        question = dice.choice(questions)
        limit = dice.uniform(0, patience) if dice.random() < HANGS_UP else None
        asked = _streamed if dice.random() < 0.5 else _whole
        try:
            text = await asyncio.wait_for(asked(http, question.body), limit)
        except TimeoutError:
            counts.requests["hung_up"] += 1
            continue
        except httpx.HTTPStatusError as error:
            counts.statuses[error.response.status_code] += 1
            continue
        except (httpx.HTTPError, ValueError) as error:
            counts.requests[f"failed: {type(error).__name__}"] += 1
            continue
        counts.statuses[200] += 1
        _compare(question, text, {one.alone for one in questions} - {None}, counts)


def _compare(question: Question, text: str, alone: set[str | None], counts: Counts) -> None:
    """Count an answer, and note it where it is another question's. `alone`: the sentences of all questions."""
    if question.alone is None:
        try:
            foreign = json.loads(text) != {"word": question.word}
            counts.requests["called"] += 1
        except ValueError:  # the longest answer cuts a call
            foreign = any(word in text for word in WORDS if word != question.word)
            counts.requests["cut calls"] += 1
    else:
        counts.requests["answered"] += 1
        counts.requests["equal"] += text == question.alone
        named = [word for word in WORDS if word in text.lower()]
        counts.requests["name their word"] += question.word in named
        others = "temperature" in question.body and text in alone and text != question.alone
        foreign = (bool(named) and question.word not in named) or others
    if foreign:
        counts.foreign.append((question.word, text))


async def _whole(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    reply = await http.post("/v1/chat/completions", json=body)
    reply.raise_for_status()
    return _text(reply.json()["choices"][0]["message"])


async def _streamed(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    text, ended = "", False
    async with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            ended |= line == "data: [DONE]"
            if line.startswith("data: {"):
                text += "".join(_text(choice["delta"]) for choice in json.loads(line[6:])["choices"])
    if not ended:
        raise ValueError("the stream broke off")
    return text


def _text(message: dict[str, Any]) -> str:
    """What a message, or a part of one, says: its content, or the arguments of its calls."""
    calls = message.get("tool_calls") or ()
    return (message.get("content") or "") + "".join(call["function"].get("arguments") or "" for call in calls)


async def _until_up(http: httpx.AsyncClient) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            if (await http.get("/health")).status_code == 200:
                return
        except httpx.HTTPError:
            await asyncio.sleep(0.5)
    raise click.ClickException("the server did not start")


async def _left(http: httpx.AsyncClient) -> dict[str, int]:
    """What the server still holds, once it had half a minute to let it go."""
    names = {"guided_gen_live_searches": "live_searches", "guided_gen_cached_tokens": "cached_tokens"}
    found: dict[str, int] = {}
    for _ in range(60):
        text = (await http.get("/metrics")).text
        rows = [line.split() for line in text.splitlines() if line.split()[0] in names]
        found = {names[name]: int(float(value)) for name, value in rows}
        if not any(found.values()):
            break
        await asyncio.sleep(0.5)
    return found


def _process(pid: int) -> dict[str, int]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {"kb": int(status["VmRSS"].split()[0]), "threads": int(status["Threads"])}


if __name__ == "__main__":
    main()
