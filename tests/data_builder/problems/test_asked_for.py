"""The function that a sentence asks for is the entry point, and its parameters take the values of labels, rows and tables."""

import pytest

from guided_gen.data_builder.problems.asked_for import UNNAMED, asked_name, known_interface
from guided_gen.data_builder.problems.plain_text import problem_from_statement
from guided_gen.data_builder.problems.problem import CallTest, StdinTest


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("Write a function `merge(left, right)` that merges two sorted lists.", "merge"),
        ("Please implement merge(left: list[int], right: list[int]) -> list[int], which merges both.", "merge"),
        ("I need a Python function called merge that takes two sorted lists.", "merge"),
        ("Lists come sorted.\n\nComplete the function **merge(left, right=None)**.", "merge"),
        ("Function signature: merge(left, right)", "merge"),
        ("Implement merge_lists.", "merge_lists"),
        ("Please write `mergeLists`: it merges two sorted lists.", "mergeLists"),
        ("Create my_file.txt.", None),
        ("Make iPhone and JavaScript lists one.", None),
        ("Write merge_lists as a program.", None),
        ("Write a function that merges two sorted lists.", UNNAMED),
        ("write a func that merges", UNNAMED),
        ("Merge two lists.\n\nExample 1:\n\nInput: left = [1], right = [2]\nOutput: [1, 2]", UNNAMED),
        ("Schreibe eine Funktion merge(left, right), die beide verbindet.", "merge"),
        ("Напишите функцию merge(left, right).", "merge"),
        ("Write a program that reads two lists and prints merge(left, right).", None),
        ("Write a program with a function for merging. It reads standard input.", None),
        ("Merge two sorted lists, where merge(n) is what f(n, m) was.", None),
        ("Write what merge(1, 2) gives.", None),
        ("Merge two sorted lists.", None),
    ],
)
def test_the_name_of_the_function_that_is_asked_for(statement, name):
    assert asked_name(statement) == name


def test_its_parameters_are_those_of_the_signature_with_hints_and_defaults():
    interface = known_interface("Write `pay(hours: int, rate: float = 9.5) -> float`. pay(2) is 19.", "pay")
    assert interface is not None
    assert [(one.name, one.required) for one in interface.parameters] == [("hours", True), ("rate", False)]
    assert interface.bound(["2"]) is None and interface.gives(19.0) and not interface.gives("19")


@pytest.mark.parametrize(
    ("examples", "tests"),
    [
        ("Input: hours = 2, rate = 9\nOutput: 18", [CallTest((2, 9), 18)]),
        ("hours = 2, rate = 9 -> 18", [CallTest((2, 9), 18)]),
        ("2, 9 -> 18\n3, 10 -> 30", [CallTest((2, 9), 18), CallTest((3, 10), 30)]),
        ("| rate | hours | result |\n|---|---|---|\n| 9 | 2 | 18 |", [CallTest((2, 9), 18)]),
        ("| call | returns |\n|---|---|\n| `pay(2, 9)` | `18` |", [CallTest((2, 9), 18)]),
    ],
)
def test_values_without_a_call_are_matched_to_a_signature_in_a_sentence(examples, tests):
    problem = problem_from_statement(f"Write a function pay(hours, rate).\n\n{examples}\n", "text/x")
    assert (problem.entry_point, list(problem.tests)) == ("pay", tests)


def test_without_a_signature_labels_name_the_parameters_and_rows_count_them():
    labelled = problem_from_statement("Sum up.\n\nInput: nums = [1, 2], k = 3\nOutput: 6\n", "text/x")
    assert (labelled.entry_point, labelled.tests) == (UNNAMED, (CallTest(([1, 2], 3), 6),))
    rows = problem_from_statement("Write a function named spell.\n\n1 -> 'one'\n10 -> 'ten'\n", "text/x")
    assert (rows.entry_point, rows.tests) == ("spell", (CallTest((1,), "one"), CallTest((10,), "ten")))
    assert problem_from_statement("Write a function named spell. Write 1 -> 'one'.", "text/x").tests == ()
    behind = problem_from_statement(
        "Implement turn_round.\n\nInput: \"a b\"\nOutput: \"b a\"\nInput: 'a'\nOutput: 'a'\n", "text/x"
    )
    assert (behind.entry_point, behind.tests) == ("turn_round", (CallTest(("a b",), "b a"), CallTest(("a",), "a")))
    several = problem_from_statement("Implement cut_at.\n\nInput: [1, 2, 3], 1\nOutput: [1]\n", "text/x")
    assert several.tests == (CallTest(([1, 2, 3], 1), [1]),)
    assert problem_from_statement("Implement sum_up.\n\nInput: 1, 2, 3\nOutput: 6\n", "text/x").tests == ()
    assert problem_from_statement("Write a function named f.\n\n1 -> 2\n1, 2 -> 3\n", "text/x").tests == ()


def test_calls_name_a_function_that_has_no_name_and_blocks_are_read_by_a_program():
    called = problem_from_statement("Write a function that doubles.\n\ntwice(2) == 4\n", "text/x")
    assert (called.entry_point, called.tests) == ("twice", (CallTest((2,), 4),))
    blocks = "Input\nTwo numbers.\n\nOutput\nTheir sum.\n\nExample\nInput\n1 2\nOutput\n3\n"
    program = problem_from_statement(f"You may write a function add(a, b).\n\n{blocks}", "text/x")
    assert (program.entry_point, program.tests) == (None, (StdinTest("1 2\n", "3\n"),))
    formula = problem_from_statement(f"We define a function f(n); f(3) = 6.\n\n{blocks}", "text/x")
    assert (formula.entry_point, formula.tests) == (None, (StdinTest("1 2\n", "3\n"),))
    named = problem_from_statement("Write a function add(a, b).\n\nInput\na = 1, b = 2\n\nOutput\n3\n", "text/x")
    assert (named.entry_point, named.tests) == ("add", (CallTest((1, 2), 3),))


def test_the_functions_of_a_test_case_are_not_asked_for():
    statement = "Make it pass.\n\nclass T(TestCase):\n    def test_it(self):\n        self.assertEqual(twice(2), 4)\n"
    problem = problem_from_statement(statement, "text/x")
    assert (problem.entry_point, problem.tests) == ("twice", (CallTest((2,), 4),))
