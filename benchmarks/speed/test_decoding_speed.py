"""Decoding against transformers, llama.cpp and vLLM (docs/speed.md), on an idle machine:

    pytest benchmarks/speed/test_decoding_speed.py --benchmark-enable -s

Each contender runs the default model in a process of its own; all ratios come from one run. The times in pytest-benchmark's table
include loading the model; `extra_info` and the printed lines hold the seconds of decoding and the memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from guided_gen.benchmarks.studies.decoding_contenders import Timing, missing_peer

WAYS = ["generate", "repeated-cache", "vllm", "llama.cpp", "engine-float32", "engine-int8"]
_timings: dict[tuple[str, int], Timing] = {}


def timed(contender: str, candidates: int, new_tokens: int) -> Timing:
    command = [sys.executable, "-W", "ignore", "-m", "guided_gen.benchmarks.studies.decoding_contenders", contender]
    command += ["--candidates", str(candidates), "--new-tokens", str(new_tokens)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return Timing(**json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("candidates", [1, 8, 36])
@pytest.mark.parametrize("contender", WAYS)
def test_decoding(benchmark: Any, contender: str, candidates: int) -> None:
    if benchmark.disabled:
        pytest.skip("a benchmark: needs --benchmark-enable")
    if missing := missing_peer(contender):
        pytest.skip(missing)
    new_tokens = 128 if candidates == 36 else 64
    timing = benchmark.pedantic(timed, args=(contender, candidates, new_tokens), rounds=1)
    _timings[contender, candidates] = timing
    benchmark.extra_info.update(vars(timing))
    print(
        f"\n{contender:15} {candidates:3} candidates: {timing.total_seconds:6.1f} s, decoding {timing.decode_seconds:6.1f} s, ",
        end="",
    )
    print(f"{timing.tokens_per_second:6.1f} tokens/s, peak {timing.peak_mb:.0f} MB ({timing.loaded_mb:.0f} MB after loading)")


def test_ratios() -> None:
    """The table of ratios, of what has been measured in this run."""
    for (contender, candidates), timing in _timings.items():
        for other in WAYS[: WAYS.index(contender)]:
            against = _timings.get((other, candidates))
            if against is not None:
                total, decode = against.total_seconds / timing.total_seconds, against.decode_seconds / timing.decode_seconds
                print(
                    f"\n{contender} against {other}, {candidates} candidates: {total:.2f} end to end, {decode:.2f} decoding",
                    end="",
                )
                print(f", peak memory {timing.peak_mb / against.peak_mb:.2f}", end="")
