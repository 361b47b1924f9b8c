"""Examples that a statement prints become tests; what is not clearly an example does not."""

import pytest

from guided_gen.data_builder.problems.examples import call_examples, stdin_examples
from guided_gen.data_builder.problems.loaders import data_folder, load_problems
from guided_gen.data_builder.problems.plain_text import problem_from_statement, read_problem
from guided_gen.data_builder.problems.problem import CallTest, StdinTest
from guided_gen.data_builder.problems.records import RecordError


@pytest.mark.parametrize(
    "line",
    [
        "f(2, [1]) == 4",
        "f(2, [1]) = 4",
        "f(2, [1]) -> 4",
        "f(2, [1]) => 4",
        "f(2, [1])  --> 4",
        "f(2, [1]) ==> 4",
        "f(2, [1]) ➞ 4",
        "f(2, [1]) # => 4",
        "f(2, [1])  # 4",
        "f(2, [1]) // returns 4",
        "f(2, [1]) => returns 4",
        "* `f(2, [1])` should return `4`.",
        "assert f(2, [1]) == 4",
        "For example, `f(2, [1]) = 4`, because 2 and 2 are 4.",
        "f(2, [1]) => 4 (see above)",
        "f (2, [1]) == 4; // a remark",
        "Module.f(2, [1]) => 4",
        ">>> f(2, [1])\n4",
        "    >>> f(2, [1])\n    4\n",
    ],
)
def test_a_call_with_its_result_is_a_test(line):
    assert call_examples(f"Write a function.\n\n{line}\n\nThe end.") == ("f", (CallTest((2, [1]), 4),))


@pytest.mark.parametrize(
    ("line", "test"),
    [
        ('f("a(b", \')\') == "c, d"', CallTest(("a(b", ")"), "c, d")),
        ("f('it\\'s') -> 'x'", CallTest(("it's",), "x")),
        ("f(1, true) => null", CallTest((1, True), None)),
        ("f([1, 2]) = [3, (4, 5)], as 1 < 2", CallTest(([1, 2],), [3, (4, 5)])),
        ("f(1.5) -> -2.5.", CallTest((1.5,), -2.5)),
        ("f() == {'a': {1, 2}}", CallTest((), {"a": {1, 2}})),
    ],
)
def test_literals_of_every_kind_are_read(line, test):
    assert call_examples(line) == ("f", (test,))


@pytest.mark.parametrize(
    "line",
    [
        "f(n) = f(n - 1) + f(n - 2)",
        "f(x) == 4",
        "2 * f(3) = 6",
        "1 + f(3) == 6",
        "f(3) + 1 == 6",
        "g(f(3)) == 6",
        "f(3) takes one argument",
        "f(3) # the third element",
        "f(3",
        "f(0, 0) returns 000",
        "f(3) == 1\nf(3) == 2",
        ">>> f(x)\n4",
        ">>> print(f(3))\n4",
    ],
)
def test_what_is_not_an_example_of_f_is_left_out(line):
    assert call_examples(line, "f") == (None, ())


def test_the_function_with_most_examples_is_the_entry_point_and_repetitions_count_once():
    statement = "g(1) == 1\nf(1) == 2\nf(1) == 2\nf(2) == 3\n"
    assert call_examples(statement) == ("f", (CallTest((1,), 2), CallTest((2,), 3)))
    assert call_examples(statement, "g") == ("g", (CallTest((1,), 1),))


APPS_STYLE = """Add numbers.

-----Input-----
The first line contains n.

-----Output-----
Print the sum.

-----Examples-----
Input
2
1 2

Output
3

Input
0

Output
0

7

-----Note-----
Input
9
Output
9
"""


def test_input_and_output_blocks_of_an_example_section():
    assert stdin_examples(APPS_STYLE) == (StdinTest("2\n1 2\n", "3\n"), StdinTest("0\n", "0\n\n7\n"))


@pytest.mark.parametrize(
    "statement",
    [
        "-----Sample Input-----\n1 2\n\n-----Sample Output-----\n3\n\nThe sum of the two is printed here.",
        "## Input\nTwo numbers.\n## Output\nTheir sum.\n\n### Sample Input 1\n```\n1 2\n```\n### Sample Output 1\n```\n3\n```\n",
        "Add two numbers.\n\nInput:\n1 2\n\nOutput:\n3\n\nExplanation\nOne and two.",
        "Add.\nExample 1\nInput\n1 2\nOutput\n3\nExplanation: they are added",
    ],
)
def test_other_titles_of_examples(statement):
    assert stdin_examples(statement) == (StdinTest("1 2\n", "3\n"),)


def test_a_description_of_the_format_is_no_example():
    assert stdin_examples("Input\nThe first line contains two numbers.\n\nOutput\nPrint the sum of both.\n") == ()
    assert stdin_examples("Input\n1 2\n") == ()


def test_a_statement_with_calls_is_a_call_based_problem_with_example_tests():
    problem = problem_from_statement("Write inc.\n\ninc(1) == 2\ninc(2) == 3\n", "file/x")
    assert (problem.entry_point, problem.tests_kind) == ("inc", "example")
    assert problem.tests == (CallTest((1,), 2), CallTest((2,), 3))


def test_a_signature_in_the_statement_is_the_starter_code():
    problem = problem_from_statement("Write it.\n\n    def inc(x: int) -> int:\n\ninc(1) == 2\ng(1) == 2\ng(2) == 2", "file/x")
    assert problem.entry_point == "inc"
    assert problem.starter_code.strip() == "def inc(x: int) -> int:"
    assert problem.tests == (CallTest((1,), 2),)
    method = problem_from_statement("class Solution:\n    def inc(self, x):\n\nincrement x", "file/x")
    assert method.starter_code == "class Solution:\n    def inc(self, x):"
    assert (method.entry_point, method.tests_kind) == ("inc", "none")


def test_a_text_file_is_a_problem_named_after_it(tmp_path):
    path = tmp_path / "add.txt"
    path.write_text(APPS_STYLE)
    problem = read_problem(path)
    assert (problem.id, problem.statement, problem.entry_point) == ("file/add", APPS_STYLE, None)
    assert len(problem.tests) == 2


def test_an_empty_or_unreadable_file_is_an_error(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("empty.txt", "binary.txt", "absent.txt"):
        with pytest.raises(RecordError, match=name):
            read_problem(tmp_path / name)


@pytest.mark.skipif(not data_folder().is_dir(), reason="the data folder (GUIDED_GEN_DATA) is absent")
def test_examples_agree_with_the_tests_of_real_problems():
    """Those read from call-based train statements say what the hidden tests say, wherever these have the same arguments."""
    agree = contradict = 0
    for problem in load_problems("apps", split="train"):
        if problem.is_call_based:
            known = {repr(test.args): as_lists(test.expected) for test in problem.tests}
            for test in call_examples(problem.statement, problem.entry_point)[1]:
                if repr(test.args) in known:
                    agree += known[repr(test.args)] == as_lists(test.expected)
                    contradict += known[repr(test.args)] != as_lists(test.expected)
    assert agree > 600
    assert contradict <= 0.01 * agree


def as_lists(value):
    return [as_lists(item) for item in value] if isinstance(value, list | tuple) else value
