"""guided-gen in processes that are killed at random moments.

    python tests/guided_gen/kills.py KILLS SECONDS SEED guided-gen's arguments... --out OUT

Begins the command again and again and kills it with SIGKILL after at most SECONDS, every other training as soon as it then writes
a checkpoint, until KILLS have met a running one, then lets it run to its end. What ended before its kill is set aside as OUT-1,
OUT-2 and so on, and the next one begins from nothing. Says how many kills came while a checkpoint was being written. Everything
is imported once: the processes are forks of this one, which computes nothing itself. The judge of `adapt` takes an answer for
correct if its first character is even.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path

import accelerate  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import scipy.optimize  # noqa: F401
import sklearn.linear_model  # noqa: F401
import tensorboardX  # noqa: F401
import transformers  # noqa: F401

from guided_gen.cli import adapt, bench, build, cli, dataset, evaluate, main, train  # noqa: F401
from guided_gen.data_builder import problem_growth
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.verdict import Status, Verdict
from guided_gen.data_builder.problems.problem import Problem
from guided_gen.engine.models import loading  # noqa: F401
from guided_gen.valuemodel import evaluation, fitting  # noqa: F401


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
            os._exit(end.code if isinstance(end.code, int) else end.code is not None)
        os._exit(99)
    return process


def being_written(out: Path, since: float) -> bool:
    """Whether a checkpoint that was begun after `since`, in seconds of the clock, is not yet in its place."""
    with suppress(FileNotFoundError):  # files go while they are looked at
        return any(path.stat().st_mtime > since for path in out.rglob("*.new"))
    return False


def killed(process: int, seconds: float, awaited: Callable[[], bool]) -> bool:
    """Whether the process was still running after `seconds` and, from then on, when `awaited` was true; now it is not. Ends this
    one where it had failed."""
    end = time.monotonic() + seconds
    ended, status = 0, 0
    while not ended and (time.monotonic() < end or not awaited()):
        time.sleep(0.0005)
        ended, status = os.waitpid(process, os.WNOHANG)
    if not ended:
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(os.WEXITSTATUS(status))
    return os.WIFSIGNALED(status)


def kill_often(command: list[str], kills: int, seconds: float, rng: random.Random) -> str:
    """What the kills met, in words."""
    out = Path(command[command.index("--out") + 1])
    met, writing, aside = 0, 0, 0
    while met < kills:
        writes = partial(being_written, out, time.time())
        aimed = command[0] == "train" and (met + aside) % 2
        if killed(begun(command), rng.uniform(0.1, seconds), writes if aimed else lambda: True):
            met += 1
            writing += writes()
        else:
            aside += 1
            out.rename(out.with_name(f"{out.name}-{aside}"))
    return f"{met} kills, {writing} while a checkpoint was being written; {aside} ended before"


if __name__ == "__main__":
    kills, seconds, seed, *command = sys.argv[1:]
    if command[0] == "adapt":
        with_made_up_verdicts()
    print(kill_often(command, int(kills), float(seconds), random.Random(int(seed))), file=sys.stderr)
    _, status = os.waitpid(begun(command), 0)
    sys.exit(os.waitstatus_to_exitcode(status))
