"""Which problems have tests too weak to label rollouts with: wrong labels poison whatever is learned from them."""

from __future__ import annotations

import ast
from typing import Any

from .asserts import is_vacuous
from .problem import AssertTest, Problem
from .syntax import parse

MIN_TESTS = 3


def skip_reason(problem: Problem) -> str | None:
    """Why the problem is unfit for labels, None if it is fit.

    Fewer than three tests are passed by luck, a single distinct expected output by a constant. Outputs differ if their type does
    (True and 1), and text by more than the white space around it. Every assert of an `AssertTest` counts as a test.
    """
    if not problem.tests:
        return "no tests"
    expected = [wanted for test in problem.tests for wanted in _expected(test)]
    if len(expected) < MIN_TESTS:
        return f"fewer than {MIN_TESTS} tests"
    if len(set(expected)) == 1:
        return "a single distinct expected output"
    return None


def _expected(test: Any) -> list[Any]:
    """A hashable key for what each check of the test expects."""
    if isinstance(test, AssertTest):
        statements = [node for node in ast.walk(parse(test.code)) if isinstance(node, ast.Assert) and not is_vacuous(node)]
        return [ast.dump(node.test.comparators[0] if isinstance(node.test, ast.Compare) else node.test) for node in statements]
    return [_key(test.expected.strip() if isinstance(test.expected, str) else test.expected)]


def _key(value: Any) -> Any:
    """Equal for values of one type and content. Not text: integers may have more digits than Python prints."""
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(_key, value))
    if isinstance(value, set):
        return ("set", frozenset(map(_key, value)))
    if isinstance(value, dict):
        return ("dict", frozenset((_key(key), _key(item)) for key, item in value.items()))
    return (type(value).__name__, value)
