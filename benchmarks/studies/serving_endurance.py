"""Many clients, many of whom hang up: does the server leak memory, cache nodes or threads, and is every answer its question's?

python -m guided_gen.benchmarks.studies.serving_endurance [--minutes 5] [--clients 32] [--json]

The server is a process of its own. Each question asks for a sentence about a word; an answer is foreign if it has another
question's word and not its own. Before the clients come, each question is asked alone, and later answers that are equal to these
are counted: in another batch, rounding may turn a draw.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx

from guided_gen.engine.models.known import DEFAULT_MODEL

WORDS = ("apple", "brick", "cloud", "drum", "eagle", "flute", "grape", "horse", "island", "jacket", "kettle", "lemon")
HANGS_UP = 0.4  # the share of requests whose client does not wait for the end
START_SECONDS = 900


@dataclass
class Counts:
    requests: Counter[str] = field(default_factory=Counter)
    foreign: list[tuple[str, str]] = field(default_factory=list)


@click.command()
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--minutes", default=5.0, show_default=True)
@click.option("--clients", default=32, show_default=True)
@click.option("--n", default=2, show_default=True, help="Candidates of each search.")
@click.option("--tokens", default=24, show_default=True, help="Longest answer.")
@click.option("--patience", default=8.0, show_default=True, help="Seconds after which a client that hangs up has done so.")
@click.option("--json", "as_json", is_flag=True)
def main(model: str, precision: str, minutes: float, clients: int, n: int, tokens: int, patience: float, as_json: bool) -> None:
    """Exits with 1 where a cache, a search or a thread is left, or an answer is another question's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "guided_gen", "serve", "--port", str(port), "--model", model, "--precision", precision]
    server = subprocess.Popen([*command, "--waiting", str(clients)])
    try:
        figures = asyncio.run(_endure(server.pid, f"http://127.0.0.1:{port}", minutes * 60, clients, n, tokens, patience))
    finally:
        server.terminate()
        server.wait()
    click.echo(json.dumps(figures) if as_json else "\n".join(f"{name:>24}: {value}" for name, value in figures.items()))
    sys.exit(
        bool(figures["foreign_answers"] or figures["live_searches"] or figures["cached_tokens"] or figures["more_threads"] > 0)
    )


async def _endure(pid: int, url: str, seconds: float, clients: int, n: int, tokens: int, patience: float) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=None)) as http:
        await _until_up(http)
        body = {"model": "guided-gen", "max_tokens": tokens, "guided": {"n": n}}
        questions = [
            body | {"seed": i, "messages": [{"role": "user", "content": f"Write one sentence about the word {word}."}]}
            for i, word in enumerate(WORDS)
        ]
        expected = [_text((await http.post("/v1/chat/completions", json=question)).json()) for question in questions]
        counts = Counts()
        samples = [_process(pid)]
        end = time.monotonic() + seconds
        work = [asyncio.create_task(_client(http, i, questions, expected, end, patience, counts)) for i in range(clients)]
        half: dict[str, int] | None = None
        while not all(task.done() for task in work):
            await asyncio.wait(work, timeout=10)
            samples.append(_process(pid))
            if half is None and time.monotonic() > end - seconds / 2:
                half = samples[-1]
        await asyncio.gather(*work)
        left = await _left(http)
        last = _process(pid)
    half = half or samples[0]
    return {
        **counts.requests,
        "foreign_answers": len(counts.foreign),
        "foreign": counts.foreign[:3],
        **left,
        "mb_before": samples[0]["kb"] // 1024,
        "mb_at_half_time": half["kb"] // 1024,
        "mb_after": last["kb"] // 1024,
        "threads_at_half_time": half["threads"],
        "threads_after": last["threads"],
        "more_threads": last["threads"] - max(sample["threads"] for sample in samples[: len(samples) // 2 + 1]),
    }


async def _client(
    http: httpx.AsyncClient,
    number: int,
    questions: list[dict[str, Any]],
    expected: list[str],
    end: float,
    patience: float,
    counts: Counts,
) -> None:
    dice = random.Random(number)
    while time.monotonic() < end:
        which = dice.randrange(len(questions))
        limit = dice.uniform(0, patience) if dice.random() < HANGS_UP else None
        asked = _streamed if dice.random() < 0.5 else _whole
        try:
            text = await asyncio.wait_for(asked(http, questions[which]), limit)
        except TimeoutError:
            counts.requests["hung_up"] += 1
            continue
        except (httpx.HTTPError, ValueError) as error:
            counts.requests[f"failed: {type(error).__name__}"] += 1
            continue
        counts.requests["answered"] += 1
        counts.requests["equal"] += text == expected[which]
        named = [word for word in WORDS if word in text.lower()]
        counts.requests["name their word"] += WORDS[which] in named
        if named and WORDS[which] not in named:
            counts.foreign.append((WORDS[which], text))


async def _whole(http: httpx.AsyncClient, question: dict[str, Any]) -> str:
    reply = await http.post("/v1/chat/completions", json=question)
    reply.raise_for_status()
    return _text(reply.json())


async def _streamed(http: httpx.AsyncClient, question: dict[str, Any]) -> str:
    text, ended = "", False
    async with http.stream("POST", "/v1/chat/completions", json=question | {"stream": True}) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            ended |= line == "data: [DONE]"
            if line.startswith("data: {"):
                text += "".join(choice["delta"].get("content") or "" for choice in json.loads(line[6:])["choices"])
    if not ended:
        raise ValueError("the stream broke off")
    return text


def _text(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


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
