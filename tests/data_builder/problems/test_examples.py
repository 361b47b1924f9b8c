"""Examples that a statement prints become tests with their lines; reading never fails, and takes linear time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_gen.data_builder.problems.examples import MAX_STATEMENT, Example, call_examples, printed_examples, read_examples
from guided_gen.data_builder.problems.loaders import data_folder, load_problems
from guided_gen.data_builder.problems.plain_text import problem_from_statement, read_problem
from guided_gen.data_builder.problems.problem import CallTest, Problem, StdinTest
from guided_gen.engine.errors import DataError

BLOCKS = "Add.\n\nExamples\nInput\n1 2\nOutput\n3\n"


def test_the_function_with_most_examples_is_the_entry_point_and_repetitions_count_once():
    statement = "g(1) == 1\nf(1) == 2\nf(1) == 2\nf(2) == 3\n"
    assert read_examples(statement) == ("f", (Example(CallTest((1,), 2), (2, 2)), Example(CallTest((2,), 3), (4, 4))))
    assert read_examples(statement, "g") == ("g", (Example(CallTest((1,), 1), (1, 1)),))


def test_an_example_knows_its_lines():
    statement = "Double n.\n\ndef f(n):\n\nf(1)\n# returns 2\n\n```\nInput: 2\n\nOutput: 4\n```\n"
    assert [example.lines for example in read_examples(statement, "f")[1]] == [(5, 6), (9, 11)]


def test_of_contradicting_examples_the_call_holds_and_none_of_two_calls():
    assert call_examples("f(2) == 4\n\nInput: 2\nOutput: 5", "f", "def f(n):")[1] == (Example(CallTest((2,), 4), (1, 1)),)
    assert call_examples("f(2) == 4\nf(2) == 5", "f", "def f(n):")[1] == ()
    assert len(call_examples("f(2) == [1, 2]\nf(2) == (1, 2)\nf(2) == {1, 2}", "f", "def f(n):")[1]) == 1


def test_a_formula_in_a_statement_with_blocks_of_input_and_output_is_no_example():
    statement = f"For example, gcd(4, 6) = 2.\n\n{BLOCKS}"
    assert read_examples(statement) == (None, (Example(StdinTest("1 2\n", "3\n"), (6, 9)),))


def test_a_problem_with_starter_code_of_its_own_shows_its_examples():
    problem = Problem("x/1", "Double.\n\nInput: 2\nOutput: 4", "x", starter_code="def f(n):", entry_point="f")
    assert [example.test for example in printed_examples(problem)] == [CallTest((2,), 4)]
    assert printed_examples(Problem("x/1", BLOCKS, "x"))[0].test == StdinTest("1 2\n", "3\n")
    defined = Problem("x/1", "def f(n):\n    '''Input: 2\n    Output: 4'''", "x", entry_point="f")
    assert [example.test for example in printed_examples(defined)] == [CallTest((2,), 4)]


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


def test_a_signature_may_go_over_several_lines():
    signature = "class Solution:\n\n    def inc(\n        self,\n        x: int,\n    ) -> int:"
    problem = problem_from_statement(f"Write it.\n\n{signature}\n        pass\n\nInput: x = 1\nOutput: 2\n", "file/x")
    assert problem.starter_code == signature
    assert problem.tests == (CallTest((1,), 2),)


def test_a_text_file_is_a_problem_named_after_it(tmp_path):
    path = tmp_path / "add.txt"
    path.write_text(BLOCKS)
    problem = read_problem(path)
    assert (problem.id, problem.statement, problem.entry_point) == ("file/add", BLOCKS, None)
    assert problem.tests == (StdinTest("1 2\n", "3\n"),)


def test_an_empty_or_unreadable_file_is_an_error(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("empty.txt", "binary.txt", "absent.txt"):
        with pytest.raises(DataError, match=name):
            read_problem(tmp_path / name)


PIECES = [
    *["def f(n):\n", "class Solution:\n", "f(", "f(2)", "f 2 ", "F(2,", "g(2)", ">>> ", "assert ", "assertEqual(", "print("],
    *[
        " == ",
        " -> ",
        " // ",
        "# ",
        " returns ",
        "Input: ",
        "Output: ",
        "Input\n",
        "Output\n",
        "Example\n",
        "-----Sample Input-----\n",
    ],
    *[
        "For ",
        "n = ",
        "n, m = ",
        ", the output should be ",
        "we return ",
        "| n | f(n) |\n",
        "write a function f(n)",
        "write a function ",
        ", but should return ",
        "... ",
        "|",
        "---",
        "\n",
        "\r\n",
        "  ",
        "\t",
        ", ",
    ],
    *[
        "2",
        "0.5",
        "1,000",
        "...",
        '"',
        "'",
        "“",
        "”",
        "\\",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ":",
        "=>",
        ";",
        "`",
        "```\n",
        "**",
        "$",
    ],
    *["<b>", "\\text{", "&lt;", "true", "null", "é", "入力例", "\x00", "\ud800", "new int[]", "set(", "9" * 5000],
]


SIGNATURES = st.sampled_from(["", "def f(n):\n", "def f(a, *b: int) -> 'x':\n"])


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), SIGNATURES)
@settings(max_examples=300)
def test_no_statement_makes_reading_fail(text, starter):
    problem = problem_from_statement(f"{starter}{text}", "text/x")
    count = f"{starter}{text}".count("\n") + 1
    assert all(1 <= first <= last <= count for first, last in (one.lines for one in printed_examples(problem)))


REPEATED = [
    *["f(", "f(2) == ", "# f(2)", "f 2 ", "f(2)\n4\n", "[", "{a: ", "x = {", '"\\', "“", "Input: n = ", "for n = 2, the ", "1, "],
    *["n = 2\n", "\\text{", "<b", "**a", "\n", "class Solution:\n", "1 -> 1\n", "Input\n1\nOutput\n", "| "],
    *[
        "write a function f(a, b) ",
        "write ",
        "f(a",
        "| a | result |\n",
        "a  result\n1  2\n",
        "function called f ",
        ">>> f(1,\n... ",
    ],
    *["f(1) gives 1, but ", "In [1]: f(2)\nOut[1]: ", "<pre>", "пример\n"],
]


@pytest.mark.timeout(20)  # what takes time that is quadratic in its length takes minutes
@pytest.mark.parametrize("piece", REPEATED)
def test_reading_takes_linear_time_and_long_statements_are_not_read(piece):
    for size in (MAX_STATEMENT, 1_000_000):
        text = piece * (size // len(piece))
        problem_from_statement(text, "text/x")
        problem_from_statement(("def f(n):\n" + text)[:size], "text/x")


@pytest.mark.skipif(not data_folder().is_dir(), reason="the data folder (GUIDED_GEN_DATA) is absent")
def test_examples_agree_with_the_tests_of_real_problems():
    """Those read from call-based train statements say what the hidden tests say, wherever these have the same arguments."""
    agree = contradict = 0
    for problem in load_problems("apps", split="train"):
        if problem.is_call_based:
            known = {repr(test.args): as_lists(test.expected) for test in problem.tests if isinstance(test, CallTest)}
            for example in printed_examples(problem):
                if repr(example.test.args) in known:
                    agree += known[repr(example.test.args)] == as_lists(example.test.expected)
                    contradict += known[repr(example.test.args)] != as_lists(example.test.expected)
    assert agree > 1400
    assert contradict <= 0.01 * agree


def as_lists(value):
    return [as_lists(item) for item in value] if isinstance(value, list | tuple) else value
