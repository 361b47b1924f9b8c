"""What is found out about finished answers while the search goes on: the statement's examples, and the caller's own opinion."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .data_builder.judge.judge import Judge
from .data_builder.judge.program import JudgeError
from .data_builder.judge.verdict import FailedTest, Verdict
from .data_builder.problems.extraction import extract_program
from .data_builder.problems.problem import Problem

Accept = Callable[[str], float | bool]
log = logging.getLogger("guided_gen")


class CandidateChecks:
    """Runs complete answers on a problem's examples in a sandbox, and calls `accept` with their texts, on threads of its own."""

    def __init__(self, problem: Problem | None, accept: Accept | None) -> None:
        self._problem, self._accept = problem, accept
        self._judge = Judge(workers=1) if problem is not None and problem.tests else None
        self._judging = ThreadPoolExecutor(1, thread_name_prefix="examples") if self._judge else None
        self._accepting = ThreadPoolExecutor(1, thread_name_prefix="accept") if accept else None
        self._verdicts: dict[int, Future[Verdict]] = {}
        self._opinions: dict[int, Future[float | bool]] = {}
        self.isolation = self._judge.isolation if self._judge else None

    @property
    def busy(self) -> bool:
        """Whether there is anything to close."""
        return self._judge is not None or self._accepting is not None

    @property
    def running(self) -> list[Future[Any]]:
        """All that was begun, also what has ended."""
        return [*self._verdicts.values(), *self._opinions.values()]

    def start(self, leaf: int, text: str) -> None:
        """Begin to check the answer that ends at `leaf`. Costs its caller, the thread that decodes, nothing."""
        if self._judging is not None:
            self._verdicts[leaf] = self._judging.submit(self._judged, text)
        if self._accepting is not None and self._accept is not None:
            self._opinions[leaf] = self._accepting.submit(self._accept, text)

    def _judged(self, text: str) -> Verdict:
        assert self._judge is not None and self._problem is not None
        return self._judge.judge(self._problem, extract_program(text))

    def verdict(self, leaf: int) -> Verdict | None:
        """Waits for it; None where the answer is incomplete or there are no examples. An answer that could not be run failed."""
        running = self._verdicts.get(leaf)
        if running is None:
            return None
        try:
            return running.result()
        except JudgeError as error:  # a sandbox that did not start is no reason to lose the other answers
            assert self._judge is not None and self._problem is not None
            log.warning("An answer was not run on the examples, and counts as failing them: %s", error)
            failure = FailedTest(0, "no_result", "", "", "", "", str(error))
            return Verdict(self._problem.id, "no_result", (), failure, self._judge.isolation, 0.0)

    def accepted(self, leaf: int) -> float | None:
        """What `accept` returned, -inf for NaN; waits for it and raises what it raised. None where the answer is incomplete."""
        running = self._opinions.get(leaf)
        if running is None:
            return None
        opinion = float(running.result())
        return -math.inf if math.isnan(opinion) else opinion

    def close(self) -> None:
        """Drop what waits; returns once the program in the sandbox, if any, has ended."""
        for threads in (self._judging, self._accepting):
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)
        if self._judge is not None:
            self._judge.close()
