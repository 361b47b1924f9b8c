"""What programs do on public inputs: the examples that a statement prints, and inputs made without results.

Each program runs in a sandbox of its own, on one input after another. What is told of it: which examples it meets, and for each
input a number, equal for outcomes that are the same by the judge's own rules. Grading tests have no place here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..problems.problem import CallTest, StdinTest
from .examiner import Examined, Examiner
from .program import Outcome, Program
from .verdict import Isolation, ProgramLimits

Input = tuple[Any, ...] | str
"""The arguments of a call, or the text of standard input."""

PUBLIC_LIMITS = ProgramLimits(cpu_seconds=2, wall_seconds=4.0, program_seconds=6.0, output_bytes=1 << 16)
"""Public inputs are small. A program that runs out of time is run no further, so that an endless one costs 2 s; on inputs that
are added later it runs for what its time for all leaves.
"""
NOT_RUN = -1
"""The class of an input that a program was not run on, for want of time."""


@dataclass
class Execution:
    """One program. examples: (status, answer, error) of each; classes, results: of each input, examples first (see `table`)."""

    examples: list[Examined] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    results: list[bool] = field(default_factory=list)
    ended: bool = False  # it is run no further
    seconds: float = 0.0  # that it took so far

    @property
    def passed(self) -> int:
        """Examples that are met."""
        return sum(status == "passed" for status, _, _ in self.examples)


class PublicRuns:
    """Runs programs on the public inputs of one problem. Use as a context manager; `run` may be called from several threads."""

    def __init__(
        self,
        entry_point: str | None,
        examples: Sequence[CallTest | StdinTest],
        isolation: Isolation,
        limits: ProgramLimits = PUBLIC_LIMITS,
        most_open: int = 0,
    ) -> None:
        """`entry_point` as in `Problem`. The sandboxes of the first `most_open` programs stay open for inputs to come: to start
        one costs as much as ten runs in it, to keep one 4.4 MB.
        """
        self.examples = tuple(examples)
        self.inputs: list[Input] = [test.args if isinstance(test, CallTest) else test.stdin for test in examples]
        self._entry_point, self._isolation, self._limits = entry_point, isolation, limits
        self._classes = [_Classes() for _ in self.inputs]
        self._examiner = Examiner(isolation, limits)
        self._lock = threading.Lock()
        self._known: dict[str, Execution] = {}
        self._most_open = most_open
        self._open: dict[str, Program] = {}

    def add(self, inputs: Iterable[Input]) -> None:
        """Have programs run on more inputs, those that were run before at the next `run`."""
        for given in inputs:
            self.inputs.append(given)
            self._classes.append(_Classes())

    def run(self, program: str) -> Execution:
        """What the program did on all inputs there are; it is run on those that are new. Raises JudgeError where no sandbox
        starts.
        """
        with self._lock:
            found = self._known.setdefault(program, Execution())
        inputs = list(enumerate(self.inputs))[len(found.classes) :]
        if not inputs:
            return found
        begun = time.monotonic()
        deadline = begun + self._limits.program_seconds - found.seconds
        if found.ended or begun >= deadline:
            for index, _ in inputs:
                self._note(found, index, None)
            return found
        with self._sandbox(program, found) as running:
            for index, given in inputs:
                if found.ended or time.monotonic() >= deadline:
                    self._note(found, index, None)
                    continue
                outcome = running.run(given if isinstance(given, str) else (given, {}), deadline)
                found.ended = outcome.status in ("timeout", "syntax_error")
                self._note(found, index, outcome)
        found.seconds += time.monotonic() - begun
        return found

    def close(self) -> None:
        """End all processes."""
        for running in self._open.values():
            running.close()
        self._open.clear()
        self._examiner.close()

    def __enter__(self) -> PublicRuns:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _sandbox(self, program: str, found: Execution) -> Iterator[Program]:
        """Closed at the end, unless it may be needed again."""
        with self._lock:
            running = self._open.pop(program, None)
        running = running or Program(program, self._entry_point, self._isolation, self._limits)
        keeps = False
        try:
            yield running
            with self._lock:
                keeps = not found.ended and len(self._open) < self._most_open
                if keeps:
                    self._open[program] = running
        finally:
            if not keeps:
                running.close()

    def _note(self, found: Execution, index: int, outcome: Outcome | None) -> None:
        """Append what came of an input; what is returned or printed is read by the examiner alone."""
        with self._lock:
            if index < len(self.examples):
                found.examples.append(self._examined(outcome, self.examples[index].expected))
            number, result = NOT_RUN, False
            if outcome is not None:
                number, result = self._classes[index].number(outcome, self._examiner, self._limits)
            found.classes.append(number)
            found.results.append(result)

    def _examined(self, outcome: Outcome | None, expected: Any) -> Examined:
        if outcome is None:
            return "timeout", "", "not run, for want of time"
        if outcome.status not in ("returned", "printed"):
            return outcome.status, "", outcome.error  # type: ignore[return-value]
        return self._examiner.compare(outcome, expected, time.monotonic() + self._limits.wall_seconds)


def table(executions: Sequence[Execution]) -> tuple[np.ndarray, np.ndarray]:
    """(classes, results) of R programs on I inputs, both [R, I].

    classes: int, equal for outcomes on an input that are the same, numbered as they occur from the first program on, whatever
    the order in which programs were run; NOT_RUN where there is none. results: whether there is a result at all: something
    returned or printed, and not None or nothing.
    """
    if not executions:
        return np.zeros((0, 0), np.int64), np.zeros((0, 0), bool)
    classes = np.asarray([one.classes for one in executions], np.int64)
    for column in classes.T:
        numbers: dict[int, int] = {}
        column[:] = [NOT_RUN if number == NOT_RUN else numbers.setdefault(number, len(numbers)) for number in column.tolist()]
    return classes, np.asarray([one.results for one in executions], bool)


class _Classes:
    """Numbers the outcomes on one input as they come: (class, whether it is a result). What was returned or
    printed and is no result is one class.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, Any], tuple[int, bool]] = {}
        self._first: dict[str, list[tuple[int, Any]]] = {"returned": [], "printed": []}

    def number(self, outcome: Outcome, examiner: Examiner, limits: ProgramLimits) -> tuple[int, bool]:
        key = (outcome.status, _told(outcome))
        if key not in self._numbers:
            self._numbers[key] = self._new(outcome, examiner, limits)
        return self._numbers[key]

    def _new(self, outcome: Outcome, examiner: Examiner, limits: ProgramLimits) -> tuple[int, bool]:
        firsts = self._first.get(outcome.status)
        if firsts is None:
            return self._next(), False
        deadline = time.monotonic() + limits.wall_seconds
        place, is_result = examiner.alike(outcome, [value for _, value in firsts], deadline)
        if not is_result:
            return self._numbers.setdefault((outcome.status, None), (self._next(), False))
        if place is None:
            place = len(firsts)
            firsts.append((self._next(), outcome.value))
        return firsts[place][0], True

    def _next(self) -> int:
        return max((number for number, _ in self._numbers.values()), default=-1) + 1


def _told(outcome: Outcome) -> Any:
    """What is told of an outcome beside its status: of an exception its type, of other failures nothing."""
    if outcome.status in ("returned", "printed"):
        return outcome.value
    return outcome.error.partition(":")[0] if outcome.status == "exception" else ""
