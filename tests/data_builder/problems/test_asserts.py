import pytest

from guided_gen.data_builder.problems.asserts import as_call_based
from guided_gen.data_builder.problems.problem import AssertTest, CallTest, Problem, StdinTest


def problem(*codes):
    return Problem("p/1", "s", "p", entry_point="f", tests=tuple(map(AssertTest, codes)))


def test_literals_of_every_plain_type_convert():
    converted = as_call_based(
        problem("assert f([1, (2.5,)], {'a': None}, b'x') == -3", "assert f() == {1, 2}", "assert f(set()) == (True,)")
    )
    assert converted.tests == (CallTest(([1, (2.5,)], {"a": None}, b"x"), -3), CallTest((), {1, 2}), CallTest((set(),), (True,)))
    assert converted.entry_point == "f"


def test_humanevals_check_is_read_through():
    code = """
METADATA = {'author': 'x'}

def check(candidate):
    "a remark"
    assert True, "a text that is printed if this fails"
    assert candidate(1) == 2, "Test 1"
    assert candidate(-1) == 0

check(f)
"""
    assert as_call_based(problem(code)).tests == (CallTest((1,), 2), CallTest((-1,), 0))


@pytest.mark.parametrize(
    "code",
    [
        "assert f(x) == 1",
        "assert f(1) == g(1)",
        "assert f(1) == complex(0, 1)",
        "assert f(1) == 1j",
        "assert f(1)",
        "assert not f(1)",
        "assert f(1) != 2",
        "assert f(1) is True",
        "assert f(1) < 2",
        "assert 0 < f(1) == 2",
        "assert f(a=1) == 2",
        "assert f(*[1]) == 2",
        "assert g(1) == 2",
        "assert set(f(1)) == {1}",
        "assert abs(f(1) - 2) < 0.1",
        "x = 1\nassert f(1) == 2",
        "def check(candidate):\n    for i in range(3):\n        assert candidate(i) == i\ncheck(f)",
        "def helper():\n    pass\nassert f(1) == 2",
        "assert True",
    ],
)
def test_one_assert_that_does_not_convert_refuses_the_whole_problem(code):
    assert as_call_based(problem("assert f(1) == 2", code)) is None or code == "assert True"
    assert as_call_based(problem(code)) is None


def test_tests_of_another_kind_do_not_convert():
    assert as_call_based(Problem("p/1", "s", "p", tests=(StdinTest("1", "2"),))) is None
