from typing import Any

import pytest

from guided_gen.data_builder.problems import mbpp_and_humaneval
from guided_gen.data_builder.problems.mbpp_and_humaneval import MBPP_SPLITS, humaneval_problem, in_mbpp_split, mbpp_problem
from guided_gen.data_builder.problems.problem import AssertTest
from guided_gen.engine.errors import DataError

MBPP = {
    "task_id": 602,
    "text": "Write a function to double a number.",
    "code": "def helper(x):\r\n    return x\r\ndef double(x):\r\n    return helper(x) * 2",
    "test_setup_code": "",
    "test_list": ["assert double(1) == 2", "assert double(2) == 4", "assert double(-1) == -2 "],
    "challenge_test_list": ["assert double(0) == 0"],
}
HUMANEVAL = {
    "task_id": "HumanEval/9",
    "prompt": 'import math\n\n\ndef half(x):\n    return x / 2\n\n\ndef f(x):\n    """ Halve twice. """\n',
    "entry_point": "f",
    "canonical_solution": "    return half(half(x))\n",
    "test": "def check(candidate):\n    assert candidate(4) == 1\n    assert half(candidate(8)) == 1\n",
}


def test_an_mbpp_record_has_a_test_for_each_assert_and_shows_them():
    problem = mbpp_problem(MBPP, "here")
    assert problem.id == "mbpp/602"
    assert problem.entry_point == "double"
    assert problem.tests == (
        AssertTest("assert double(1) == 2"),
        AssertTest("assert double(2) == 4"),
        AssertTest("assert double(-1) == -2"),
    )
    assert problem.statement.endswith("assert double(-1) == -2")
    assert "double(0)" not in problem.statement


def test_carriage_returns_are_gone():
    problem = mbpp_problem(MBPP | {"test_setup_code": "x = 1\r\ny = 2"}, "here")
    assert "\r" not in problem.solutions[0] + problem.tests[0].code
    assert problem.tests[0].code == "x = 1\ny = 2\nassert double(1) == 2"


def test_the_tested_function_may_stand_inside_another_call():
    code = "def f(x):\n    return [x]"
    assert mbpp_and_humaneval.tested_function(["assert set(f(1)) == set([1])"], code, "here") == "f"
    assert mbpp_and_humaneval.tested_function(["assert (f(1)) == [1]"], code, "here") == "f"


def test_splits_are_the_papers_and_do_not_overlap():
    numbers = [number for split in MBPP_SPLITS.values() for number in split]
    assert sorted(numbers) == list(range(11, 975))
    problem = mbpp_problem(MBPP, "here")
    assert [split for split in MBPP_SPLITS if in_mbpp_split(problem, split)] == ["train"]


@pytest.mark.parametrize(
    "change", [{"task_id": "x"}, {"test_list": []}, {"test_list": "assert"}, {"code": "def ("}, {"code": "x = 1"}, {"text": None}]
)
def test_a_malformed_mbpp_record_is_named(change):
    with pytest.raises(DataError, match="here"):
        mbpp_problem(MBPP | change, "here")


def test_a_humaneval_solution_passes_its_own_test_and_a_wrong_one_fails():
    problem = humaneval_problem(HUMANEVAL, "here")
    assert (problem.id, problem.entry_point) == ("humaneval/9", "f")
    scope: dict[str, Any] = {}
    exec(problem.solutions[0] + problem.tests[0].code, scope)
    with pytest.raises(AssertionError):
        exec("def f(x):\n    return x\n" + problem.tests[0].code, {})


def test_an_answer_need_not_repeat_what_the_prompt_defines():
    problem = humaneval_problem(HUMANEVAL, "here")
    exec("def f(x):\n    return half(x) / 2\n" + problem.tests[0].code, {})


@pytest.mark.parametrize("change", [{"entry_point": "g"}, {"prompt": "def ("}, {"test": None}])
def test_a_malformed_humaneval_record_is_named(change):
    with pytest.raises(DataError, match="here"):
        humaneval_problem(HUMANEVAL | change, "here")
