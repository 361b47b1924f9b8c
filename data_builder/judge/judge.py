"""The judge: runs programs on their problems' tests in sandboxes and says which pass.

Not one expected output enters the sandbox of a program: inputs go in, what the program makes of them comes out as bytes, and
the comparison happens in an examiner's process (`examiner.py`). So a program can lie only about its own answer. What the sandbox
keeps a program from doing to the machine is a matter of the isolation level (`isolation.py`).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Literal, TypeVar

from ..problems.problem import AssertTest, CallTest, Problem, Test
from .comparison import shortened
from .examiner import Examined, Examiner
from .isolation import choose_isolation
from .program import JudgeError, Program
from .sandbox import NO_LIMIT
from .verdict import FailedTest, Isolation, ProgramLimits, Status, Verdict
from .wire import WireError, encode

Key = TypeVar("Key")
Item = tuple[Key, Problem, str]
REMEMBERED = 4096
# More answers that cannot be judged, and it is the machine that cannot.
MOST_UNJUDGED = 50


class Judge:
    """Judges programs, `workers` at a time. Use as a context manager; safe to use from several threads.

    isolation: a level of `isolation.LEVELS`, or "auto" for the strongest that this machine has; see `isolation` for which it
        is. Raises `IsolationError` where that level is not available.
    stop_at_first_failure: do not run the tests after the first that fails, where only `Verdict.passed` matters.
    """

    def __init__(
        self,
        isolation: Isolation | Literal["auto"] = "auto",
        workers: int = 2,
        limits: ProgramLimits | None = None,
        stop_at_first_failure: bool = False,
    ) -> None:
        self.isolation: Isolation = choose_isolation(isolation)
        self.limits = limits or ProgramLimits()
        self.workers = workers
        self._stop_at_first_failure = stop_at_first_failure
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="judge")
        self._lock = threading.Lock()
        self._remembered: OrderedDict[tuple[str, bytes], tuple[Problem, Future[Verdict]]] = OrderedDict()
        self._examiners: list[Examiner] = []

    def judge(self, problem: Problem, program: str) -> Verdict:
        """Run `program` on all tests of `problem`. Raises `JudgeError` for a problem without tests."""
        return self.submit(problem, program).result()

    def submit(self, problem: Problem, program: str) -> Future[Verdict]:
        """As `judge`, without waiting. The last few thousand verdicts are remembered: an equal program is not run again."""
        if not problem.tests:
            raise JudgeError(f"The problem {problem.id} has no tests to judge by.")
        key = (problem.id, hashlib.sha256(program.encode("utf-8", "surrogatepass")).digest())
        with self._lock:
            known = self._remembered.get(key)
            if known is not None and (known[0] is problem or known[0] == problem) and not _has_failed(known[1]):
                self._remembered.move_to_end(key)
                return known[1]
            future = self._pool.submit(self._run, problem, program)
            self._remembered[key] = (problem, future)
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
            return future

    def judge_many(self, items: Iterable[Item[Key]]) -> Iterator[tuple[Key, Verdict]]:
        """(key, verdict) for each (key, problem, program), in the order in which they finish.

        `items` may be endless: it is read only a little ahead. An answer that could not be judged holds up no other; it is tried
        again at the end. Raises `JudgeError` then, for those that cannot be judged, or before, where they are too many.
        """
        waiting: dict[Future[Verdict], list[Item[Key]]] = {}
        unjudged: list[Item[Key]] = []
        for item in items:
            waiting.setdefault(self.submit(*item[1:]), []).append(item)
            while len(waiting) >= 4 * self.workers:
                yield from _finished(waiting, unjudged)
        while waiting:
            yield from _finished(waiting, unjudged)
        reasons: list[tuple[Key, JudgeError]] = []
        for key, problem, program in unjudged:
            try:
                yield key, self.judge(problem, program)
            except JudgeError as error:
                reasons.append((key, error))
        if reasons:
            raise JudgeError(f"{len(reasons)} answers were not judged, the first of them {reasons[0][0]}: {reasons[0][1]}")

    def close(self) -> None:
        """Drop what is queued, finish what is running, end all processes."""
        self._pool.shutdown(cancel_futures=True)
        for examiner in self._examiners:
            examiner.close()
        self._examiners.clear()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, problem: Problem, text: str) -> Verdict:
        start = time.monotonic()
        deadline = start + self.limits.program_seconds
        statuses: list[Status] = []
        failure: FailedTest | None = None
        with Program(text, problem.entry_point, self.isolation, self.limits) as program:
            for index, test in enumerate(problem.tests):
                if time.monotonic() >= deadline:
                    outcome: Examined = ("timeout", "", f"no time left of {self.limits.program_seconds:g} s")
                else:
                    try:
                        outcome = self._run_test(program, problem, test, deadline)
                    except WireError as error:
                        raise JudgeError(f"Test {index} of problem {problem.id} holds {error}, which cannot be sent.") from error
                status, got, text_of_error = outcome
                statuses.append(status)
                if status != "passed" and failure is None:
                    failure = failed_test(index, test, status, got, text_of_error)
                if status == "syntax_error" or (failure is not None and self._stop_at_first_failure):
                    break
        status = "passed" if failure is None else failure.status
        return Verdict(problem.id, status, tuple(statuses), failure, self.isolation, time.monotonic() - start)

    def _run_test(self, program: Program, problem: Problem, test: Test, deadline: float) -> Examined:
        if not isinstance(test, AssertTest):
            outcome = program.run((test.args, {}) if isinstance(test, CallTest) else test.stdin, deadline)
            if outcome.status not in ("returned", "printed"):
                return outcome.status, "", outcome.error  # type: ignore[return-value]
        examiner = self._take_examiner()
        try:
            if isinstance(test, AssertTest):
                with program.converse(deadline) as conversation:
                    return examiner.run_asserts(test.code, problem.entry_point or "", conversation, deadline)
            return examiner.compare(outcome, test.expected, deadline)
        finally:
            with self._lock:
                self._examiners.append(examiner)

    def _take_examiner(self) -> Examiner:
        with self._lock:
            if self._examiners:
                return self._examiners.pop()
        return Examiner(self.isolation, self.limits)


def failed_test(index: int, test: Test, status: Status, got: str, error: str) -> FailedTest:
    if isinstance(test, AssertTest):
        given: Any = test.code
        expected = ""
    elif isinstance(test, CallTest):
        given, expected = test.args, shortened(test.expected)
    else:
        given, expected = test.stdin, shortened(test.expected)
    digest = hashlib.sha256(encode(given, NO_LIMIT)).hexdigest()[:16]
    return FailedTest(index, status, shortened(given), digest, expected, got, error)


def _has_failed(future: Future[Verdict]) -> bool:
    return future.cancelled() or (future.done() and future.exception() is not None)


def _finished(waiting: dict[Future[Verdict], list[Item[Key]]], unjudged: list[Item[Key]]) -> Iterator[tuple[Key, Verdict]]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        items = waiting.pop(future)
        try:
            verdict = future.result()
        except JudgeError:
            unjudged += items
            if len(unjudged) > MOST_UNJUDGED:
                raise
            continue
        for key, _, _ in items:
            yield key, verdict
