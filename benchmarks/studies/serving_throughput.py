"""Concurrent searches against the same searches one after another: what is gained by decoding them in one batch.

python -m guided_gen.benchmarks.studies.serving_throughput [--searches 8] [--n 4] [--tokens 128] [--rounds 2] [--json]
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

import click

from guided_gen.engine.models.known import DEFAULT_MODEL
from guided_gen.generator import GuidedGenerator
from guided_gen.solution import Solution

TASKS = (
    "returns the second largest number of a list",
    "counts the vowels of a text",
    "says whether a number is a perfect square",
    "returns the words of a text in the opposite order",
    "adds the digits of a number until one digit is left",
    "says whether two texts have the same letters",
    "returns the longest run of equal numbers in a list",
    "turns a number of seconds into hours, minutes and seconds",
)


@click.command()
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--searches", default=8, show_default=True)
@click.option("--n", default=4, show_default=True, help="Candidates of each search.")
@click.option("--tokens", default=128, show_default=True, help="Longest answer.")
@click.option("--rounds", default=2, show_default=True, help="Of both ways, in turns.")
@click.option("--json", "as_json", is_flag=True)
def main(model: str, precision: str, searches: int, n: int, tokens: int, rounds: int, as_json: bool) -> None:
    """Time both ways in turns. Prompts are read anew each time, and the draws are the same."""
    generator = GuidedGenerator.from_pretrained(model, precision=precision, value=None)
    generator.loaded.language_model.hold_prefixes(0)
    chats = [[{"role": "user", "content": f"Write a Python function that {TASKS[i % len(TASKS)]}."}] for i in range(searches)]
    changes: list[dict[str, Any]] = [{"n": n, "max_new_tokens": tokens, "seed": i} for i in range(searches)]

    async def together() -> list[Solution]:
        return await asyncio.gather(*(generator.asolve(chat, **one) for chat, one in zip(chats, changes, strict=True)))

    def in_turn() -> list[Solution]:
        return [generator.solve(chat, **one) for chat, one in zip(chats, changes, strict=True)]

    generator.solve(chats[0], n=n, max_new_tokens=8)  # what is slow the first time only
    seconds: dict[str, list[float]] = {"together": [], "in turn": []}
    decoded = {}
    for i in range(rounds):
        for way in list(seconds)[:: 1 if i % 2 else -1]:
            begun = time.perf_counter()
            found = asyncio.run(together()) if way == "together" else in_turn()
            seconds[way].append(time.perf_counter() - begun)
            decoded[way] = sum(solution.decoded_tokens for solution in found)
    median = {way: statistics.median(times) for way, times in seconds.items()}
    speed = {way: decoded[way] / median[way] for way in median}
    figures = {
        "searches": searches,
        "n": n,
        "tokens": tokens,
        "seconds": seconds,
        "decoded_tokens": decoded,
        "tokens_per_second": speed,
        "ratio": speed["together"] / speed["in turn"],
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    for way, times in seconds.items():
        click.echo(f"{way:>9}: {median[way]:7.1f} s of {len(times)}, {decoded[way]} tokens, {speed[way]:6.1f} tokens a second")
    click.echo(f"    ratio: {figures['ratio']:.2f}")


if __name__ == "__main__":
    main()
