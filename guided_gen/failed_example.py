"""An example that a program fails, in words: what went in, what was expected and what came."""

from __future__ import annotations

from .data_builder.judge.verdict import FailedTest
from .data_builder.problems.problem import AssertTest, CallTest, Problem

MOST_CHARACTERS = 500  # of a call


def failure_rows(problem: Problem, failure: FailedTest) -> list[tuple[str, str]]:
    """(name, text) of each part, in the order to show them in."""
    test = problem.tests[failure.index]
    got = ("got", failure.got if failure.status == "wrong_answer" else _what_happened(failure))
    if isinstance(test, AssertTest):
        return [("example", failure.input), got]
    if isinstance(test, CallTest):
        shown = "call", f"{problem.entry_point}({', '.join(map(repr, test.args))})"[:MOST_CHARACTERS]
    else:
        shown = "input", failure.input
    return [shown, ("expected", failure.expected), got]


def _what_happened(failure: FailedTest) -> str:
    what = failure.status.replace("_", " ")
    return f"{what}: {failure.error}" if failure.error else what
