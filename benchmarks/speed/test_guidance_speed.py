"""What guidance costs and saves, as ratios within one run on an idle machine (docs/speed.md):

    pytest benchmarks/speed/test_guidance_speed.py --benchmark-enable -s

The default model, checks every 16 tokens; every search is run once. Prompt and answer lengths are in each test's name.
"""

from __future__ import annotations

from typing import Any

import pytest

from guided_gen.benchmarks.studies.guidance_contenders import Contenders, Searched, settings
from guided_gen.engine.models.files import resolve_model
from guided_gen.valuemodel.early_stop import chosen_policy

N, PROMPT, ANSWER = 16, 300, 192
_found: dict[tuple[Any, ...], Searched] = {}


@pytest.fixture(scope="module")
def contenders() -> Contenders:
    made = Contenders(resolve_model())
    for way in Contenders.WAYS:  # load everything, and let every library choose its kernels
        made.search(way, PROMPT, settings(N, 17))
    return made


def timed(benchmark: Any, contenders: Contenders, way: str, n: int, prompt: int, answer: int, **changes: Any) -> Searched:
    found: Searched = benchmark.pedantic(contenders.search, args=(way, prompt, settings(n, answer, **changes)), rounds=1)
    benchmark.extra_info.update(vars(found))
    speed = found.tokens / found.seconds
    print(f"\n{way}: {n} candidates, prompt {prompt}, answers {answer}: {found.seconds:.1f} s, {speed:.0f} tokens/s", end="")
    return found


@pytest.fixture(autouse=True)
def only_as_a_benchmark(benchmark: Any) -> None:
    if benchmark.disabled:
        pytest.skip("a benchmark: needs --benchmark-enable")


@pytest.mark.parametrize("way", Contenders.WAYS)
def test_ways_to_score(benchmark: Any, contenders: Contenders, way: str) -> None:
    found = _found[way,] = timed(benchmark, contenders, way, N, PROMPT, ANSWER)
    assert len({one.candidates for one in _found.values()}) == 1  # the same candidates, token for token
    slower = [(other, one.seconds / found.seconds) for (other,), one in _found.items() if other != way]
    print("".join(f"; {other} takes {ratio:.2f} times as long" for other, ratio in slower), end="")


@pytest.mark.parametrize("policy", ["best-of-n", "speculative-rejection:alpha=0.5", "early-stop:lost=0.1"])
def test_policies(benchmark: Any, contenders: Contenders, policy: str) -> None:
    if contenders.shipped is None:
        pytest.skip("no value model comes with guided-gen for this machine's precision")
    chosen = chosen_policy(policy, ["value"], contenders.shipped, settings(N, ANSWER).check_every)
    found = timed(benchmark, contenders, "shipped probe", N, PROMPT, ANSWER, policy=chosen)
    print(f", {found.tokens} tokens, {policy}", end="")


@pytest.mark.parametrize("n", [1, 4, 16, 64])
def test_growth_with_candidates(benchmark: Any, contenders: Contenders, n: int) -> None:
    timed(benchmark, contenders, "probe", n, PROMPT, 64)


@pytest.mark.parametrize("prompt", [75, 300, 1200])
def test_growth_with_the_prompt(benchmark: Any, contenders: Contenders, prompt: int) -> None:
    timed(benchmark, contenders, "probe", N, prompt, 64)


@pytest.mark.parametrize("answer", [64, 256, 512])
def test_growth_with_the_answer(benchmark: Any, contenders: Contenders, answer: int) -> None:
    timed(benchmark, contenders, "probe", N, PROMPT, answer)
