"""Programs a second with 5 tests each, at each isolation level and without any: `pytest benchmarks/speed --benchmark-enable`."""

import itertools
from typing import Any

import pytest

from guided_gen.data_builder.judge.isolation import LEVELS, why_unavailable
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.verdict import Isolation
from guided_gen.data_builder.problems.problem import CallTest, Problem

PROGRAMS = 60
PROBLEM = Problem("p/digits", "", "p", entry_point="f", tests=tuple(CallTest((10**n,), n + 1) for n in range(5)))
_different = itertools.count()


@pytest.mark.parametrize("level", LEVELS)
def test_short_call_based_programs(benchmark: Any, level: Isolation) -> None:
    if why_unavailable(level) is not None:
        pytest.skip(f"isolation level '{level}' is not available: {why_unavailable(level)}")

    def judge_all(judge: Judge) -> None:
        items = ((number, PROBLEM, f"def f(n):\n    return len(str(n))  # {next(_different)}") for number in range(PROGRAMS))
        assert all(verdict.passed for _, verdict in judge.judge_many(items))

    with Judge(level, workers=2) as judge:
        benchmark.pedantic(judge_all, args=(judge,), rounds=3, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["programs_per_second"] = round(PROGRAMS / benchmark.stats.stats.min, 1)
