"""What a problem is: a statement, an interface and tests. Loaders make these, prompts and the judge read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class StdinTest:
    """The program reads `stdin`; what it prints is compared with `expected`."""

    stdin: str
    expected: str


@dataclass(frozen=True)
class CallTest:
    """The entry point is called with `args`; what it returns is compared with `expected`. Both hold plain values."""

    args: tuple[Any, ...]
    expected: Any


@dataclass(frozen=True)
class AssertTest:
    """Python statements that call the entry point and assert (MBPP, HumanEval). The statements are the problem's: trusted."""

    code: str


Test = StdinTest | CallTest | AssertTest


@dataclass(frozen=True)
class Problem:
    """One programming problem.

    `id` is unique within its source ("apps-train/2372", "mbpp/11", "humaneval/0", "file/<name>"). `entry_point` is the
    function (or the method of `class Solution`) to call, None for a program that reads standard input. `tests` are all of
    one type. `tests_kind` is full, full-reconstructed, example or none: only the first is fit for grading without a caveat.
    """

    id: str
    statement: str
    source: str
    starter_code: str = ""
    difficulty: str = ""
    entry_point: str | None = None
    tests: tuple[Test, ...] = ()
    tests_kind: Literal["full", "full-reconstructed", "example", "none"] = "full"
    solutions: tuple[str, ...] = ()
    verified: str | None = None

    @property
    def is_call_based(self) -> bool:
        return self.entry_point is not None
