"""--tests: a user's own asserts and pairs join the examples, and the judge runs them as what they are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.problems.problem import AssertTest, CallTest, StdinTest
from guided_gen.engine.errors import SettingsError
from guided_gen.own_tests import MOST_BYTES, problem_with_tests

STATEMENT = "Double a number.\n\ndouble(2) == 4\n"
PAIRS = "Input\n2\nOutput\n4\n\nInput\n3\nOutput\n6\n"
PYTEST = '''
"""Of the solution."""
import math
import pytest
from solution import double

LIMIT = 3


def close(a, b):
    return math.isclose(a, b)


def test_small():
    for x in range(LIMIT):
        assert double(x) == x + x


def test_fractions():
    assert close(double(0.1), 0.2)
'''


PARAMETRIZED = """
import pytest

@pytest.mark.slow
@pytest.mark.parametrize("given, wanted", [(1, 2), ("a", "aa"), ([1], [1, 1])])
@pytest.mark.parametrize("times", [1, 2])
def test_double(given, wanted, times):
    for _ in range(times):
        assert double(given) == wanted
"""


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(isolation="rlimits", workers=1)


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.txt"
    path.write_text(text)
    return path


def test_asserts_of_literals_join_the_examples(tmp_path: Path) -> None:
    problem = problem_with_tests(STATEMENT, own(tmp_path, "assert double(5) == 10\nassert double('a') == 'aa', 'text'\n"))
    assert problem.tests == (CallTest((2,), 4), CallTest((5,), 10), CallTest(("a",), "aa"))


def test_the_function_is_named_by_the_tests_where_the_statement_names_none(tmp_path: Path) -> None:
    problem = problem_with_tests("Double a number.", own(tmp_path, "assert sorted(twice(5)) == [1]\nassert twice(1) == 2\n"))
    assert problem.entry_point == "twice" and all(isinstance(test, AssertTest) for test in problem.tests)


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("def double(x): return 2 * x", 3),
        ("def double(x): return 2 * int(x)", 2),
        ("def double(x): return 4", 1),
        ("def double(x): return 5", 0),
    ],
)
def test_pytest_functions_are_run_one_by_one_with_the_statement_s_examples(
    tmp_path: Path, judge: Judge, program: str, passed: int
) -> None:
    problem = problem_with_tests(STATEMENT, own(tmp_path, PYTEST))
    assert len(problem.tests) == 3
    assert judge.judge(problem, program).tests.count("passed") == passed


def test_each_row_of_parameters_is_a_test(tmp_path: Path, judge: Judge) -> None:
    problem = problem_with_tests("Double it.", own(tmp_path, PARAMETRIZED))
    assert problem.entry_point == "double" and len(problem.tests) == 6
    assert judge.judge(problem, "def double(x): return x + x").passed
    assert judge.judge(problem, "def double(x): return 2 * int(x)").tests.count("passed") == 2


def test_pairs_are_for_programs_that_read_their_input(tmp_path: Path, judge: Judge) -> None:
    problem = problem_with_tests("Read a number and print its double.", own(tmp_path, PAIRS))
    assert problem.tests == (StdinTest("2\n", "4\n"), StdinTest("3\n", "6\n")) and problem.entry_point is None
    assert judge.judge(problem, "print(2 * int(input()))").passed and not judge.judge(problem, "print(4)").passed


@pytest.mark.parametrize(
    ("statement", "text", "says"),
    [
        (STATEMENT, "", "neither asserts"),
        (STATEMENT, "not ( Python", "neither asserts"),
        (STATEMENT, "x = 1\n", "neither asserts"),
        (STATEMENT, PAIRS, "the function double"),
        ("Print it.\n\nSample Input\n2\n\nSample Output\n4\n", "assert double(2) == 4\n", "inputs and outputs"),
        ("Print it.", "assert 1 == 1\n", "call no function"),
        (STATEMENT, "#" * (1 << 21), "more than"),
        (STATEMENT, f"assert double({'-' * 5000}1) == 2\n", "neither asserts"),
        (STATEMENT, f"assert double(x{'.y' * 900}) == 2\n", "neither asserts"),
        (STATEMENT, "assert double(1) == 2\n" * 4_000, "too much to run"),
        (STATEMENT, "x = 1\n" * 5_000 + "assert double(1) == x\n" * 900, "too much to run"),
        (STATEMENT, "def test_it(tmp_path):\n    assert double(1) == 2\n", "takes tmp_path"),
        (STATEMENT, "@pytest.mark.parametrize('x', ROWS)\ndef test_it(x):\n    assert double(x)\n", "not literals"),
        (STATEMENT, "def test_it():\n    with pytest.raises(ValueError):\n        double('')\n", "uses pytest"),
        (STATEMENT, "from pytest import approx\n\ndef test_it():\n    assert double(0.1) == approx(0.2)\n", "uses approx"),
    ],
)
def test_what_is_no_test_is_refused_in_one_sentence(tmp_path: Path, statement: str, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        problem_with_tests(statement, own(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none cannot be read"):
        problem_with_tests(STATEMENT, tmp_path / "none")


PIECES = [
    "assert double(1) == 2",
    "\n",
    "def test_a():",
    "    ",
    "@pytest.mark.parametrize('a', [1])",
    "Input",
    "Output",
    "2",
    "(",
    "\0",
    "x.y",
    "f'{'",
]


@given(text=st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_tests_or_refused(tmp_path: Path, text: str) -> None:
    with suppress(SettingsError):
        assert problem_with_tests("Double a number.", own(tmp_path, text)).tests


@pytest.mark.parametrize(
    "piece", ["Input\n", "Input\n1\nOutput\n", "assert ", "def test_a(): assert f(1)\n", "(", "[1],", "x = 1\n"]
)
def test_a_megabyte_is_refused_and_what_is_read_takes_linear_time(tmp_path: Path, piece: str) -> None:
    for size in (MOST_BYTES, 1_000_000):
        with suppress(SettingsError):
            problem_with_tests("Double a number.", own(tmp_path, piece * (size // len(piece))))
