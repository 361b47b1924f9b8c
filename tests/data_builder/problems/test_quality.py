import pytest

from guided_gen.data_builder.problems.problem import AssertTest, CallTest, Problem, StdinTest
from guided_gen.data_builder.problems.quality import skip_reason


def reason(*tests):
    return skip_reason(Problem("p/1", "s", "p", tests=tests))


def test_tests_that_tell_programs_apart_are_fit():
    assert reason(CallTest((1,), 1), CallTest((2,), 2), CallTest((3,), 2)) is None
    assert reason(StdinTest("1", "1"), StdinTest("2", "2"), StdinTest("3", "3")) is None


def test_fewer_than_three_tests():
    assert reason() == "no tests"
    assert reason(StdinTest("1", "1"), StdinTest("2", "2")) == "fewer than 3 tests"


@pytest.mark.parametrize("value", [True, None, [1, [2]], {"a": [1]}, {1, 2}, (1, 2), pytest.param(10**5000, id="huge"), "x"])
def test_a_single_expected_output_is_found_whatever_its_type(value):
    assert reason(*(CallTest((number,), value) for number in range(5))) == "a single distinct expected output"
    assert reason(*(CallTest((number,), value) for number in range(5)), CallTest((9,), [value])) is None


def test_outputs_that_differ_in_white_space_around_them_are_one():
    assert reason(StdinTest("1", "YES\n"), StdinTest("2", "YES"), StdinTest("3", " YES")) == "a single distinct expected output"


def test_true_and_one_are_two_outputs():
    assert reason(CallTest((1,), True), CallTest((2,), 1), CallTest((3,), 1)) is None


def test_asserts_count_one_by_one():
    asserts = "".join(f"    assert candidate({number}) == {{}}\n" for number in range(3))
    check = f"def check(candidate):\n    assert True\n{asserts}"
    assert reason(AssertTest(check.format(1, 2, 3))) is None
    assert reason(AssertTest(check.format(1, 1, 1))) == "a single distinct expected output"
    assert reason(AssertTest("assert f(1) == 1"), AssertTest("assert f(2) == 2")) == "fewer than 3 tests"
