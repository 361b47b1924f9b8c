"""What is found out about finished answers while the search goes on: what their programs do, and the caller's own opinion.

Programs run on the problem's examples, on inputs made from these by small changes, and on calls that the programs themselves
make; what needs no results to be compared.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .data_builder.judge.executions import PUBLIC_LIMITS, Execution, PublicRuns
from .data_builder.judge.isolation import choose_isolation
from .data_builder.judge.judge import Judge, failed_test
from .data_builder.judge.program import JudgeError
from .data_builder.judge.verdict import FailedTest, Status, Verdict
from .data_builder.problems.extraction import extract_program
from .data_builder.problems.problem import AssertTest, CallTest, Problem, StdinTest
from .data_builder.problems.written_calls import written_calls
from .data_builder.public_inputs import MOST_WRITTEN, made_and_known

Accept = Callable[[str], float | bool]
log = logging.getLogger("guided_gen")
_MOST_OPEN = 16  # sandboxes that wait for calls which later programs write


class CandidateChecks:
    """Runs the programs of complete answers, and calls `accept` with their texts, on threads of its own."""

    def __init__(self, problem: Problem | None, accept: Accept | None) -> None:
        self._programs = ProgramChecks(problem) if problem is not None and (problem.tests or problem.entry_point) else None
        self._accept = accept
        self._running = ThreadPoolExecutor(1, thread_name_prefix="programs") if self._programs else None
        self._accepting = ThreadPoolExecutor(1, thread_name_prefix="accept") if accept else None
        self._checked: dict[int, Future[tuple[Verdict | None, Execution]]] = {}
        self._opinions: dict[int, Future[float | bool]] = {}
        self.isolation = self._programs.isolation if self._programs else None

    @property
    def examples(self) -> int:
        """Examples that programs are run on."""
        return len(self._programs.problem.tests) if self._programs else 0

    @property
    def busy(self) -> bool:
        """Whether there is anything to close."""
        return self._programs is not None or self._accepting is not None

    @property
    def running(self) -> list[Future[Any]]:
        """All that was begun, also what has ended."""
        return [*self._checked.values(), *self._opinions.values()]

    def start(self, leaf: int, text: str, done: Callable[[], object] = lambda: None) -> None:
        """Begin to check the answer that ends at `leaf`, and call `done` at each end. Costs its caller, who decodes, nothing."""
        if self._running is not None and self._programs is not None:
            self._checked[leaf] = self._running.submit(self._programs.check, extract_program(text))
            self._checked[leaf].add_done_callback(lambda _: done())
        if self._accepting is not None and self._accept is not None:
            self._opinions[leaf] = self._accepting.submit(self._accept, text)
            self._opinions[leaf].add_done_callback(lambda _: done())

    def is_done(self, leaf: int) -> bool:
        return all(found[leaf].done() for found in (self._checked, self._opinions) if leaf in found)

    def execution(self, leaf: int) -> Execution | None:
        """Waits for it; None where nothing was run, or no sandbox started."""
        running = self._checked.get(leaf)
        try:
            return None if running is None else running.result()[1]
        except JudgeError:
            return None

    def verdict(self, leaf: int) -> Verdict | None:
        """Waits for it; None where the answer is incomplete or there are no examples. An answer that could not be run failed."""
        running = self._checked.get(leaf)
        if running is None or self._programs is None or not self._programs.problem.tests:
            return None
        try:
            return running.result()[0]
        except JudgeError as error:  # a sandbox that did not start is no reason to lose the other answers
            log.warning("An answer was not run on the examples, and counts as failing them: %s", error)
            failure = FailedTest(0, "no_result", "", "", "", "", str(error))
            return Verdict(self._programs.problem.id, "no_result", (), failure, self._programs.isolation, 0.0)

    def accepted(self, leaf: int) -> float | bool | None:
        """What `accept` returned, -inf for NaN; waits for it and raises what it raised. None where the answer is incomplete."""
        running = self._opinions.get(leaf)
        if running is None:
            return None
        opinion = running.result()
        return -math.inf if math.isnan(opinion) else opinion

    def close(self) -> None:
        """Drop what waits; returns once the program in the sandbox, if any, has ended."""
        if self._accepting is not None:
            self._accepting.shutdown(wait=False, cancel_futures=True)
        if self._running is not None and self._programs is not None:
            self._running.shutdown(wait=True, cancel_futures=True)
            self._programs.close()


class ProgramChecks:
    """Runs programs on the examples of one problem, on inputs made from them and on calls that they make, one at a time.

    A call that one program writes is an input for all: those that ran before are run on it, too.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.isolation = choose_isolation("auto")
        self._examples = tuple(test for test in problem.tests if isinstance(test, CallTest | StdinTest))
        asserts = any(isinstance(test, AssertTest) for test in problem.tests)
        self._judge = Judge(self.isolation, workers=1, limits=PUBLIC_LIMITS) if asserts else None
        most_open = _MOST_OPEN if problem.entry_point is not None else 0
        self._runs = PublicRuns(problem.entry_point, self._examples, self.isolation, most_open=most_open)
        self._ran: dict[str, Execution] = {}
        made, self._known = made_and_known(problem, self._examples)
        self._runs.add(made)
        self._written = 0

    def check(self, program: str) -> tuple[Verdict | None, Execution]:
        """Raises JudgeError where no sandbox starts."""
        self._add_calls(program)
        self._ran[program] = self._runs.run(program)
        for known in self._ran:
            self._runs.run(known)
        if self._judge is not None:
            return self._judge.judge(self.problem, program), self._ran[program]
        return self._verdict(self._ran[program]), self._ran[program]

    def close(self) -> None:
        self._runs.close()
        if self._judge is not None:
            self._judge.close()

    def _add_calls(self, program: str) -> None:
        if self.problem.entry_point is None:
            return
        for args in written_calls(program, self.problem.entry_point):
            if self._written < MOST_WRITTEN and repr(args) not in self._known:
                self._known.add(repr(args))
                self._written += 1
                self._runs.add([args])

    def _verdict(self, execution: Execution) -> Verdict:
        statuses: list[Status] = [status for status, _, _ in execution.examples]
        first = next((i for i, status in enumerate(statuses) if status != "passed"), None)
        failure = None if first is None else failed_test(first, self._examples[first], *execution.examples[first])
        status = "passed" if failure is None else failure.status
        return Verdict(self.problem.id, status, tuple(statuses), failure, self.isolation, 0.0)
