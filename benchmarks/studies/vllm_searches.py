"""Many problems searched at once on one vLLM engine, as an agent's program does it: speed, prefix cache, aborted requests.

    .venv-vllm/bin/python -m guided_gen.benchmarks.studies.vllm_searches [--problems 8] [--n 8] [--policy ...] ...

vLLM runs ahead of a search, and what it has decoded for a candidate when the policy drops it is lost: `lost` counts these tokens.
Whether an aborted request really stops shows in vLLM's own scheduler: `request_steps` sums, over its steps, the requests that it
has in hand after each; `delivered_steps` are those whose tokens arrived. A request that went on unseen would part the two.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import click

from ...data_builder.build_settings import build_order
from ...data_builder.problems.loaders import load_problems
from ...engine.models.known import DEFAULT_MODEL
from ...engine.policy_names import policy_named
from ...engine.search import SearchSettings
from ...engine.tree import Ended
from ...engine.vllm_backend.engine import TokenCounts, VllmEngine
from ...engine.vllm_backend.model import VllmLanguageModel
from ...engine.vllm_backend.pooling import PooledLanguageModel
from ...engine.vllm_backend.settings import VllmSettings
from ...generator import GuidedGenerator
from ...solution import Solution
from .vllm_cache_hits import ceiling


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--source", default="apps", help="apps, mbpp, humaneval, or a file or folder of problems.")
@click.option("--split", default="validation")
@click.option("--difficulty", default="introductory")
@click.option("--problems", default=8, help="Searches at once.")
@click.option("--model", default=DEFAULT_MODEL)
@click.option("--value", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A value model, or an exported one.")
@click.option("--policy", default="early-stop:slack=0.1")
@click.option("--n", default=8, help="Candidates of each search.")
@click.option("--tokens", default=256, help="Longest answer.")
@click.option("--check-every", default=16)
@click.option("--seed", default=0)
@click.option("--vllm", multiple=True, metavar="NAME=VALUE", help="A setting of vLLM.")
@click.option("--json", "as_json", is_flag=True)
def main(model: str, value: Path | None, vllm: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Search all at once and print what it took."""
    problems = load_problems(options["source"], options["split"])
    problems = [problem for problem in problems if problem.difficulty == options["difficulty"]]
    problems = build_order(problems, options["seed"])[: options["problems"]]
    settings = SearchSettings(
        n=options["n"],
        max_new_tokens=options["tokens"],
        policy=policy_named(options["policy"]),
        check_every=options["check_every"],
        seed=options["seed"],
    )
    generator = GuidedGenerator.from_pretrained(model, value=value, backend="vllm", vllm=VllmSettings.parse(vllm))
    served = cast(VllmLanguageModel, generator.loaded.language_model)
    try:
        pooling = _Pooling(served.classifier.engine) if isinstance(served, PooledLanguageModel) else None
        generator.solve("Write a function double(x).", n=2, max_new_tokens=8)  # what is slow the first time only
        before = replace(served.engine.counts)

        async def all_at_once() -> list[Solution]:
            return await asyncio.gather(*(generator.asolve(problem, settings) for problem in problems))

        begun = time.perf_counter()
        found = asyncio.run(all_at_once())
        seconds = time.perf_counter() - begun
        time.sleep(1)  # the counts follow the answers
        figures = _figures(found, seconds) | _engine_figures(served.engine, before)
        figures["lost"] = figures["generated"] - figures["taken"]
        # Each token but a request's last leaves the request in hand.
        figures["delivered_steps"] = figures["generated"] - (figures["requests"] - figures["aborted"])
        figures["cache"] = _cache(served.engine, before)
        ended = replace(served.engine.counts)
        time.sleep(2)
        figures["afterwards"] = {"alive": served.engine.unfinished_requests} | _engine_figures(served.engine, ended)
        if pooling is not None:
            figures["pooling_cache"] = pooling.cache()
    finally:
        served.end()
    click.echo(json.dumps(figures, indent=2) if as_json else _text(figures))


class _Pooling:
    """What the engine of a classifier is sent from now on, and finds in its cache."""

    def __init__(self, engine: VllmEngine) -> None:
        self._engine, self._before = engine, replace(engine.counts)
        self._sent: list[list[int]] = []
        encode = engine.llm.encode

        def record(prompt: dict[str, list[int]], *rest: Any) -> Any:
            self._sent.append(prompt["prompt_token_ids"])
            return encode(prompt, *rest)

        engine.llm.encode = record

    def cache(self) -> dict[str, float]:
        """`ceiling`: what a cache without limits finds: full blocks that were sent before."""
        most = ceiling([self._sent], self._engine.llm.vllm_config.cache_config.block_size)
        figures = _cache(self._engine, self._before)
        return figures | {"ceiling": most, "of_ceiling": figures["found"] / most}


def _figures(found: list[Solution], seconds: float) -> dict[str, Any]:
    """`taken`: tokens of all samples; `decoded` counts those once that samples of a search share."""
    candidates = stopped = taken = 0
    for solution in found:
        tree, rollouts = solution.tree, solution.tree.rollouts
        for leaf, fork, count, ended in zip(rollouts.leaf, rollouts.fork, rollouts.multiplicity, rollouts.ended, strict=True):
            candidates += int(count)
            stopped += int(count) * (ended in (Ended.STOPPED, Ended.PRUNED))
            taken += int(count) * (tree.depth_of(int(leaf)) - tree.depth_of(int(fork)))
    decoded = sum(solution.decoded_tokens for solution in found)
    return {
        "searches": len(found),
        "candidates": candidates,
        "stopped": stopped,
        "seconds": seconds,
        "prompt_tokens": sum(solution.prompt_tokens for solution in found),
        "decoded": decoded,
        "tokens_per_second": decoded / seconds,
        "taken": taken,
    }


def _engine_figures(engine: VllmEngine, before: TokenCounts) -> dict[str, int]:
    counts = engine.counts
    return {
        "requests": counts.requests - before.requests,
        "aborted": counts.aborted - before.aborted,
        "generated": counts.generated - before.generated,
        "request_steps": counts.batched - before.batched,
    }


def _cache(engine: VllmEngine, before: TokenCounts) -> dict[str, float]:
    looked_up, found = engine.counts.looked_up - before.looked_up, engine.counts.found - before.found
    return {"looked_up": looked_up, "found": found, "hit_rate": found / looked_up}


def _text(figures: dict[str, Any]) -> str:
    lines = [
        "{searches} searches, {candidates} candidates, {stopped} of them stopped, {prompt_tokens} prompt tokens",
        "{decoded} tokens decoded in {seconds:.1f} s: {tokens_per_second:.1f} a second",
        "vLLM generated {generated} tokens, candidates took {taken}, {lost} were lost to run-ahead",
        "{requests} requests, {aborted} of them aborted; {request_steps} request steps, {delivered_steps} for these tokens",
    ]
    cache = "{looked_up} tokens looked up, {found} found: {hit_rate:.1%}"
    text = [line.format(**figures) for line in lines] + ["prefix cache: " + cache.format(**figures["cache"])]
    if "pooling_cache" in figures:
        limit = "; ceiling {ceiling}, {of_ceiling:.1%} of it"
        text.append("pooling scorer's prefix cache: " + (cache + limit).format(**figures["pooling_cache"]))
    after = "in the 2 s after: {alive} requests alive, {generated} tokens generated, {request_steps} request steps"
    return "\n".join([*text, after.format(**figures["afterwards"])])


if __name__ == "__main__":
    main()
