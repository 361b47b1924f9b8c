"""Every oddity of APPS is one named rule; here each is shown on the smallest record that has it."""

import json

import pytest

from guided_gen.data_builder.problems.apps import (
    integer_keys,
    joined_lines,
    problem_from_record,
    read_problem_folders,
    unwrapped_outputs,
)
from guided_gen.data_builder.problems.problem import CallTest, StdinTest
from guided_gen.engine.errors import DataError


def record(**changes):
    tests = changes.pop("tests", {"inputs": ["1\n"], "outputs": ["2\n"]})
    fields = {
        "problem_id": 7,
        "question": "Add one.",
        "solutions": json.dumps(["print(int(input()) + 1)"]),
        "input_output": json.dumps(tests),
        "difficulty": "introductory",
        "url": "",
        "starter_code": "",
    }
    return fields | changes


def load(**changes):
    return problem_from_record(record(**changes), "apps-train", "here, line 3")


def test_a_stdin_record_keeps_all_its_fields():
    problem = load(verified="pass", tests_kind="full-reconstructed")
    assert problem.id == "apps-train/7"
    assert problem.statement == "Add one."
    assert problem.difficulty == "introductory"
    assert not problem.is_call_based
    assert problem.tests == (StdinTest("1\n", "2\n"),)
    assert problem.solutions == ("print(int(input()) + 1)",)
    assert (problem.verified, problem.tests_kind) == ("pass", "full-reconstructed")


def test_the_number_of_a_problem_may_be_called_id():
    hub = record()
    hub["id"] = hub.pop("problem_id")
    assert problem_from_record(hub, "apps-test", "here").id == "apps-test/7"


def test_fn_name_makes_a_call_based_problem_and_inputs_are_argument_lists():
    problem = load(tests={"fn_name": "add", "inputs": [[1, [2]]], "outputs": [[3]]}, starter_code="def add(a, b):")
    assert problem.entry_point == "add"
    assert problem.tests == (CallTest((1, [2]), 3),)


def test_lists_of_lines_are_joined():
    assert joined_lines(["2", "0 1", ""], "here") == "2\n0 1\n"
    assert joined_lines([], "here") == ""
    assert joined_lines("2\n", "here") == "2\n"
    problem = load(tests={"inputs": [["1", "2"]], "outputs": [["3", "4"]]})
    assert problem.tests == (StdinTest("1\n2", "3\n4"),)


@pytest.mark.parametrize(
    ("outputs", "starter", "expected"),
    [
        ([[1], [[2]]], "def f(x):", [1, [2]]),
        ([[1], [2, 3]], "def f(x):", [[1], [2, 3]]),
        ([1, True], "def f(x):", [1, True]),
        ([[1], [2]], "class Solution:\n    def f(self, x):", [[1], [2]]),
        ([], "def f(x):", []),
    ],
)
def test_outputs_are_unwrapped_where_all_of_a_codewars_problem_are_wrapped(outputs, starter, expected):
    assert unwrapped_outputs(outputs, starter) == expected


def test_integer_keys_come_back_where_all_keys_are_integers():
    assert integer_keys({"1": "a", "-2": "b"}) == {1: "a", -2: "b"}
    assert integer_keys({"1": "a", "x": "b"}) == {"1": "a", "x": "b"}
    assert integer_keys({}) == {}
    assert integer_keys([{"1": 2}]) == [{"1": 2}]
    problem = load(tests={"fn_name": "f", "inputs": [[{"1": 2}, "1"]], "outputs": [[{"3": 4}]]})
    assert problem.tests == (CallTest(({1: 2}, "1"), {"3": 4}),)


@pytest.mark.parametrize("input_output", ["", None, json.dumps({"inputs": [], "outputs": []})])
def test_a_record_without_tests_says_so(input_output):
    problem = load(input_output=input_output, solutions="")
    assert (problem.tests, problem.tests_kind, problem.solutions) == ((), "none", ())


def test_tests_without_a_kind_are_the_hubs_full_ones():
    assert load().tests_kind == "full"


def test_integers_with_more_digits_than_python_converts_load():
    digits = "7" * 10_000
    tests = f'{{"fn_name": "f", "inputs": [[{digits}]], "outputs": [[1]]}}'
    problem = load(input_output=tests)
    assert problem.tests[0].args[0] % 10**9 == 777_777_777
    with pytest.raises(ValueError, match="limit"):
        int(digits)  # the process's limit is as it was


@pytest.mark.parametrize(
    "changes",
    [
        {"question": None},
        {"question": 3},
        {"problem_id": None},
        {"input_output": "{"},
        {"input_output": "[]"},
        {"tests": {"inputs": ["1"], "outputs": []}},
        {"tests": {"inputs": [1], "outputs": ["1"]}},
        {"tests": {"inputs": ["1"]}},
        {"tests": {"fn_name": "f(", "inputs": [[1]], "outputs": [1]}},
        {"tests": {"fn_name": "f", "inputs": ["1"], "outputs": [1]}},
        {"solutions": "{}"},
        {"solutions": "nothing"},
        {"tests_kind": "some"},
    ],
)
def test_a_malformed_record_is_named(changes):
    with pytest.raises(DataError, match="here, line 3"):
        load(**changes)


def test_the_original_folders_load_as_the_hubs_records(tmp_path):
    whole = record(starter_code="def f(x):")
    for number in ("0007", "0012"):
        folder = tmp_path / number
        folder.mkdir()
        (folder / "question.txt").write_text(whole["question"])
        (folder / "input_output.json").write_text(whole["input_output"])
        (folder / "solutions.json").write_text(whole["solutions"])
        (folder / "starter_code.py").write_text(whole["starter_code"])
        (folder / "metadata.json").write_text(json.dumps({"difficulty": "introductory", "url": ""}))
    loaded = [problem_from_record(found, "apps-train", where) for where, found in read_problem_folders(tmp_path)]
    assert loaded == [load(starter_code="def f(x):"), load(starter_code="def f(x):", problem_id=12)]


def test_a_folder_with_a_question_alone_is_a_problem_without_tests(tmp_path):
    folder = tmp_path / "3"
    folder.mkdir()
    (folder / "question.txt").write_text("Do it.")
    [(where, found)] = read_problem_folders(folder)
    assert problem_from_record(found, "apps-test", where).tests_kind == "none"


def test_a_folder_that_is_not_named_by_a_number_is_an_error(tmp_path):
    folder = tmp_path / "three"
    folder.mkdir()
    (folder / "question.txt").write_text("Do it.")
    with pytest.raises(DataError, match="three"):
        list(read_problem_folders(folder))
