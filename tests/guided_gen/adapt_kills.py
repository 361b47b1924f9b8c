"""guided-gen in processes that are killed, with a judge that takes an answer for correct if its first character is even.

    python tests/guided_gen/adapt_kills.py KILLS SECONDS SEED guided-gen's arguments...

Begins the command KILLS times and kills each with SIGKILL after at most SECONDS, then lets it run to its end. Everything is
imported once: the processes are forks of this one, which computes nothing itself.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from concurrent.futures import Future

import matplotlib.pyplot  # noqa: F401
import sklearn.linear_model  # noqa: F401
import transformers  # noqa: F401

from guided_gen.cli import adapt, bench, build, cli, dataset, evaluate, main, train  # noqa: F401
from guided_gen.data_builder import problem_growth
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.verdict import Status, Verdict
from guided_gen.data_builder.problems.problem import Problem


def even_first(judge: Judge, problem: Problem, text: str) -> Future[Verdict]:
    """Instead of `Judge.submit`: a tiny random model writes no program."""
    status: Status = "passed" if text and ord(text[0]) % 2 == 0 else "wrong_answer"
    future: Future[Verdict] = Future()
    future.set_result(Verdict(problem.id, status, (status,) * len(problem.tests), None, judge.isolation, 0.0))
    return future


def with_made_up_verdicts() -> None:
    """For the rest of this process."""
    setattr(problem_growth, "extract_program", lambda text: text)  # noqa: B010  (mypy knows their types)
    setattr(Judge, "submit", even_first)  # noqa: B010


def begun(arguments: list[str]) -> int:
    """The id of a process that runs the command."""
    process = os.fork()
    if process == 0:
        sys.argv[1:] = arguments
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)
        os._exit(99)
    return process


if __name__ == "__main__":
    kills, seconds, seed, *command = sys.argv[1:]
    with_made_up_verdicts()
    rng = random.Random(int(seed))
    for _ in range(int(kills)):
        process = begun(command)
        time.sleep(rng.uniform(0.1, float(seconds)))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    _, status = os.waitpid(begun(command), 0)
    sys.exit(os.waitstatus_to_exitcode(status))
