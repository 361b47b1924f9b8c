"""Ten thousand verdicts in a row: does the judge leak memory, processes, descriptors or files?

python -m guided_gen.benchmarks.studies.judge_endurance [--verdicts 10000] [--json]
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ...data_builder.judge.judge import Judge
from ...data_builder.judge.launch import process_sign
from ...data_builder.judge.verdict import ProgramLimits
from ...data_builder.problems.problem import AssertTest, CallTest, Problem, StdinTest

CALL = Problem("p/call", "", "p", entry_point="f", tests=tuple(CallTest((n,), n + 1) for n in range(3)))
STDIN = Problem("p/stdin", "", "p", tests=(StdinTest("1\n", "2\n"),))
ASSERT = Problem("p/assert", "", "p", entry_point="f", tests=(AssertTest("assert f(1) == 2"),))
# Right, wrong, broken, unruly: each in many slightly different copies, since equal programs are judged once.
PROGRAMS = (
    *[(CALL, "def f(n): return n + 1")] * 8,
    *[(STDIN, "print(int(input()) + 1)")] * 4,
    *[(ASSERT, "def f(n): return n + 1")] * 4,
    (CALL, "def f(n): return n"),
    (CALL, "def f(n) return n"),
    (CALL, "def f(n): return [n] * 100_000"),
    (CALL, "def f(n): raise ValueError(n)"),
    (CALL, "import os\ndef f(n):\n    if os.fork() == 0: os.setsid()\n    os._exit(0)"),
    (CALL, "def f(n):\n    open('left', 'w').write('x' * 1000)\n    return n + 1"),
    (STDIN, "while True: print('x' * 10_000)"),
    (ASSERT, "import os\ndef f(n): os._exit(0)"),
)


@click.command()
@click.option("--verdicts", default=10_000, show_default=True)
@click.option("--isolation", default="auto", show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object an interval.")
def main(verdicts: int, isolation: Any, workers: int, as_json: bool) -> None:
    """Judge many programs and print, at ten points, what the judge holds on to."""
    counts: Counter[str] = Counter()
    start = time.monotonic()
    limits = ProgramLimits(output_bytes=1 << 20)
    with Judge(isolation, workers=workers, limits=limits, stop_at_first_failure=True) as judge:
        for done, (_, verdict) in enumerate(judge.judge_many(_items(verdicts)), 1):
            counts[verdict.status] += 1
            if done % max(1, verdicts // 10) == 0:
                _print(done, time.monotonic() - start, as_json)
    _print(verdicts, time.monotonic() - start, as_json)
    if not as_json:
        click.echo(f"isolation {judge.isolation}, closed; {dict(counts)}")


def _items(count: int) -> Iterator[tuple[int, Problem, str]]:
    for number in range(count):
        problem, text = PROGRAMS[number % len(PROGRAMS)]
        yield number, problem, f"{text}\n# {number}"


def _print(done: int, seconds: float, as_json: bool) -> None:
    row = {"verdicts": done, "seconds": round(seconds, 1), **_held()}
    click.echo(json.dumps(row) if as_json else "  ".join(f"{name} {value}" for name, value in row.items()))


def _held() -> dict[str, int]:
    """Resident memory of the judge in KB, its sandbox processes, descriptors, threads and temporary folders."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "rss_kb": int(status["VmRSS"].split()[0]),
        "processes": sum(_is_sandbox(process) for process in Path("/proc").glob("[0-9]*")),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": int(status["Threads"]),
        "folders": len(list(Path(tempfile.gettempdir()).glob(f"guided-gen-{process_sign()}-*"))),
    }


def _is_sandbox(process: Path) -> bool:
    try:
        return process_sign().encode() in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


if __name__ == "__main__":
    main()
