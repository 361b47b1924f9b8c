"""A user's own tests beside the examples of a statement: asserts as pytest has them, or Input and Output blocks."""

from __future__ import annotations

import ast
import builtins
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from .data_builder.problems.asserts import as_call_based
from .data_builder.problems.examples import stdin_examples
from .data_builder.problems.plain_text import problem_from_statement
from .data_builder.problems.problem import AssertTest, CallTest, Problem, Test
from .data_builder.problems.syntax import parse
from .engine.errors import SettingsError
from .pytest_functions import called

MOST_BYTES = 1 << 17
MOST_TESTS = 1000
MOST_RUN = 1 << 19
"""Characters of what is defined before the tests, counted once for each test: it runs before each."""


def problem_with_tests(statement: str, path: Path | None) -> Problem:
    """The problem of a statement, with the tests in the file `path` after its own examples. Raises SettingsError."""
    problem = problem_from_statement(statement, "text/problem")
    if path is None:
        return problem
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not a text file in UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise SettingsError(f"{path} has more than {MOST_BYTES} bytes")
    pairs = tuple(example.test for example in stdin_examples(text))
    if pairs:
        return _joined(problem, None, pairs, path)
    asserts = _asserts(text, path)
    entry_point = problem.entry_point or _called(asserts)
    if entry_point is None:
        raise SettingsError(f"the asserts in {path} call no function by its name")
    own = as_call_based(replace(problem, entry_point=entry_point, tests=asserts))
    return _joined(problem, entry_point, asserts if own is None else own.tests, path)


def _joined(problem: Problem, entry_point: str | None, own: tuple[Test, ...], path: Path) -> Problem:
    """All tests of a problem are of one kind: where one is an assert with more than literals, calls are written as asserts."""
    if problem.entry_point is not None and entry_point is None:
        raise SettingsError(f"{path} has inputs and outputs, where the statement asks for the function {problem.entry_point}")
    if problem.tests and problem.entry_point is None and entry_point is not None:
        raise SettingsError(f"{path} calls {entry_point}, where the statement asks for a program with inputs and outputs")
    tests = (*problem.tests, *own)
    if any(isinstance(test, AssertTest) for test in tests):
        tests = tuple(_as_assert(test, entry_point) for test in tests)
    return replace(problem, entry_point=entry_point, tests=tests, tests_kind="example")


def _as_assert(test: Test, entry_point: str | None) -> Test:
    if not isinstance(test, CallTest):
        return test
    return AssertTest(f"assert {entry_point}({', '.join(map(repr, test.args))}) == {test.expected!r}")


def _asserts(text: str, path: Path) -> tuple[AssertTest, ...]:
    """Each assert outside a function is a test, and each call of a function test_*; what the file defines goes before."""
    statements, before, codes = list[ast.stmt](), [], []
    with suppress(SyntaxError, ValueError, RecursionError):
        statements = parse(text).body
        for statement in statements:
            if isinstance(statement, ast.Assert):
                codes.append(ast.unparse(statement))
            elif isinstance(statement, ast.FunctionDef) and statement.name.startswith("test"):
                codes += called(statement)
            elif not _is_foreign(statement):
                before.append(ast.unparse(statement))
    if not codes:
        raise SettingsError(f"{path} holds neither asserts in Python nor blocks of Input and Output")
    if len(codes) > MOST_TESTS or len(codes) * sum(map(len, before)) > MOST_RUN:
        raise SettingsError(f"{path} has too much to run: {len(codes)} tests, each after all that it defines")
    tests = tuple("\n".join([*before, code]) for code in codes)
    if name := _of_pytest(statements, tests):
        raise SettingsError(f"a test in {path} uses {name}, and the sandbox has no pytest: say it with assert")
    return tuple(map(AssertTest, tests))


def _of_pytest(statements: list[ast.stmt], tests: tuple[str, ...]) -> str | None:
    """What the file imports of pytest and a test reads."""
    imports = [one for one in statements if isinstance(one, ast.ImportFrom) and one.module == "pytest"]
    names = {"pytest"} | {alias.asname or alias.name for one in imports for alias in one.names}
    return next(
        (node.id for test in tests for node in ast.walk(parse(test)) if isinstance(node, ast.Name) and node.id in names), None
    )


def _is_foreign(statement: ast.stmt) -> bool:
    """Docstrings, and imports of what the judge's sandbox does not have: pytest, the solution under test."""
    if isinstance(statement, ast.Import):
        modules = [alias.name for alias in statement.names]
    elif isinstance(statement, ast.ImportFrom):
        modules = [statement.module or ""]
    else:
        return isinstance(statement, ast.Expr)
    return any(module.partition(".")[0] not in sys.stdlib_module_names for module in modules)


def _called(asserts: tuple[AssertTest, ...]) -> str | None:
    """The function that most of the tests call, none of Python's own."""
    called: Counter[str] = Counter()
    for test in asserts:
        tree = parse(test.code)
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        called.update(sorted(names - defined - set(dir(builtins))))
    return called.most_common(1)[0][0] if called else None
