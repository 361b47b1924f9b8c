"""Asserts as call-based tests: `assert f(args) == literal` says the same as a `CallTest`, without running the problem's code."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from .problem import AssertTest, CallTest, Problem
from .syntax import parse

# The types that cross the judge's process boundary.
PLAIN_SCALARS = (type(None), bool, int, float, str, bytes)


def as_call_based(problem: Problem) -> Problem | None:
    """The same problem with `CallTest`s, or None unless every assert of every test reads `entry_point(literals) == literal`.

    HumanEval's `check(candidate)` is read through: `candidate` stands for the entry point, and `assert True` tests nothing.
    """
    tests: list[CallTest] = []
    for test in problem.tests:
        if not isinstance(test, AssertTest):
            return None
        statements = _asserts(test.code)
        if statements is None:
            return None
        for statement in statements:
            converted = _call_test(statement.test, {problem.entry_point, "candidate"})
            if converted is None:
                return None
            tests.append(converted)
    return replace(problem, tests=tuple(tests)) if tests else None


def is_vacuous(statement: ast.Assert) -> bool:
    """`assert True` holds whatever the program does (HumanEval pads its checks with it)."""
    return isinstance(statement.test, ast.Constant) and bool(statement.test.value)


def literal(node: ast.expr) -> Any:
    """The value of an expression made of literals. Raises ValueError for anything else, and for types that are not plain."""
    value = ast.literal_eval(node)
    if not _is_plain(value):
        raise ValueError(f"{ast.unparse(node)} is not made of plain types")
    return value


def _asserts(code: str) -> list[ast.Assert] | None:
    """The asserts in `code`, at the top level or in `check`; None where other statements there may matter."""
    found: list[ast.Assert] = []
    for statement in parse(code).body:
        is_check = isinstance(statement, ast.FunctionDef) and statement.name == "check"
        for inner in ast.iter_child_nodes(statement) if is_check else [statement]:
            if isinstance(inner, ast.Assert):
                if not is_vacuous(inner):
                    found.append(inner)
            elif isinstance(inner, ast.stmt) and not _is_inert(inner):
                return None
    return found


def _is_inert(statement: ast.stmt) -> bool:
    """Statements that cannot change what an assert of literals says: METADATA, comments as strings, imports, `check(f)`."""
    if isinstance(statement, ast.Expr):
        value = statement.value
        is_check_call = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "check"
        return isinstance(value, ast.Constant) or is_check_call
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id == "METADATA" for target in statement.targets)
    return isinstance(statement, ast.Import | ast.ImportFrom)


def _call_test(test: ast.expr, names: set[str | None]) -> CallTest | None:
    """`f(args) == literal` as a test, None for any other expression."""
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return None
    call, wanted = test.left, test.comparators[0]
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names and not call.keywords):
        return None
    try:
        return CallTest(tuple(literal(argument) for argument in call.args), literal(wanted))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple, set):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    return type(value) in PLAIN_SCALARS
