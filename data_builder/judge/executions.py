"""What programs do on public inputs: the examples that a statement prints, and inputs made without results.

`execute` runs one program on all of them in one sandbox and returns outcomes; `outcome_classes` says which outcomes of several
programs are the same, by the judge's own rules. Grading tests have no place here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..problems.problem import CallTest, StdinTest
from .comparison import compare_printed, compare_returned
from .program import Outcome, Program
from .verdict import Isolation, Limits
from .wire import encode

Input = tuple[Any, ...] | str
"""The arguments of a call, or the text of standard input."""

PUBLIC_LIMITS = Limits(cpu_seconds=2, wall_seconds=4.0, program_seconds=6.0, output_bytes=1 << 16)
"""Public inputs are small. A program that runs out of time is run no further, so that an endless one costs 2 s."""
NOT_RUN = -1
"""The class of an input that a program was not run on, for want of time."""


@dataclass(frozen=True)
class PublicInputs:
    """What programs are run on: `examples` first, then `made`. `entry_point` as in `Problem`."""

    entry_point: str | None
    examples: tuple[CallTest | StdinTest, ...] = ()
    made: tuple[Input, ...] = ()

    def __len__(self) -> int:
        return len(self.examples) + len(self.made)

    @property
    def given(self) -> list[Input]:
        return [test.args if isinstance(test, CallTest) else test.stdin for test in self.examples] + list(self.made)


@dataclass(frozen=True)
class Execution:
    """outcomes: one an input, None where the program was not run on it; passed: whether each example is met."""

    outcomes: tuple[Outcome | None, ...]
    passed: tuple[bool, ...]


def execute(program: str, inputs: PublicInputs, isolation: Isolation, limits: Limits = PUBLIC_LIMITS) -> Execution:
    """Run a program on all inputs, each in a fresh process of one sandbox. Raises JudgeError where no sandbox starts."""
    deadline = time.monotonic() + limits.program_seconds
    outcomes: list[Outcome | None] = []
    with Program(program, inputs.entry_point, isolation, limits) as running:
        for given in inputs.given:
            if time.monotonic() >= deadline:
                break
            outcome = running.run(given if isinstance(given, str) else (given, {}), deadline)
            outcomes.append(outcome)
            if outcome.status == "timeout":
                break
            if outcome.status == "syntax_error":
                outcomes = [outcome] * len(inputs)
                break
    outcomes += [None] * (len(inputs) - len(outcomes))
    passed = tuple(_meets(outcome, test) for outcome, test in zip(outcomes, inputs.examples, strict=False))
    return Execution(tuple(outcomes), passed)


def outcome_classes(executions: Sequence[Execution]) -> tuple[np.ndarray, np.ndarray]:
    """(classes, results) of R programs on I inputs, both [R, I].

    classes: int, equal for outcomes on an input that are the same, NOT_RUN where there is none; numbered in the order of the
    programs. results: whether there is a result at all: something returned or printed, and not None or nothing.
    """
    columns = list(zip(*(execution.outcomes for execution in executions), strict=True))
    shape = (len(executions), len(columns))
    classes, results = np.full(shape, NOT_RUN), np.zeros(shape, bool)
    for i, outcomes in enumerate(columns):
        known = Classes()
        classes[:, i] = [NOT_RUN if outcome is None else known.number(outcome) for outcome in outcomes]
        results[:, i] = [outcome is not None and gives_result(outcome) for outcome in outcomes]
    return classes, results


class Classes:
    """Numbers the outcomes on one input as they come; the same outcome gets the same number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._first: list[Outcome] = []

    def number(self, outcome: Outcome) -> int:
        key = (outcome.status, encode(_told(outcome)))
        if key not in self._numbers:
            alike = (i for i, first in enumerate(self._first) if same(outcome, first))
            self._numbers[key] = next(alike, len(self._first))
            if self._numbers[key] == len(self._first):
                self._first.append(outcome)
        return self._numbers[key]


def same(one: Outcome, other: Outcome) -> bool:
    """Whether each would count as correct where the other is expected; failures are the same if they are of one kind."""
    if one.status != other.status:
        return False
    if one.status == "returned":
        return None not in (compare_returned(one.value, other.value), compare_returned(other.value, one.value))
    if one.status == "printed":
        return None not in (compare_printed(one.value, other.value), compare_printed(other.value, one.value))
    return bool(_told(one) == _told(other))


def gives_result(outcome: Outcome) -> bool:
    if outcome.status == "returned":
        return outcome.value is not None
    return outcome.status == "printed" and bool(outcome.value.strip())


def _told(outcome: Outcome) -> Any:
    """What is told of an outcome beside its status: of an exception its type, of other failures nothing."""
    if outcome.status in ("returned", "printed"):
        return outcome.value
    return outcome.value[0] if outcome.status == "exception" else ""


def _meets(outcome: Outcome | None, test: CallTest | StdinTest) -> bool:
    if outcome is None:
        return False
    if outcome.status == "returned" and isinstance(test, CallTest):
        return compare_returned(outcome.value, test.expected) is not None
    if outcome.status == "printed" and isinstance(test, StdinTest):
        return compare_printed(outcome.value, test.expected) is not None
    return False
