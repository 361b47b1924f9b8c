"""Outcomes on public inputs: what is the same, what is met, and what hostile programs cost."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from guided_gen.data_builder.judge.executions import (
    NOT_RUN,
    PUBLIC_LIMITS,
    Execution,
    PublicInputs,
    execute,
    gives_result,
    outcome_classes,
    same,
)
from guided_gen.data_builder.judge.isolation import choose_isolation
from guided_gen.data_builder.judge.program import Outcome
from guided_gen.data_builder.problems.problem import CallTest, StdinTest

ISOLATION = choose_isolation("auto")
CALLS = PublicInputs("f", (CallTest((2,), 4), CallTest((3,), 6)), ((5,), ("a",)))


def run(program: str, inputs: PublicInputs = CALLS) -> Execution:
    return execute(program, inputs, ISOLATION)


def test_examples_are_met_by_the_judges_rules_and_made_inputs_have_outcomes():
    double = run("def f(x): return x * 2")
    assert double.passed == (True, True)
    assert [outcome.value for outcome in double.outcomes] == [4, 6, 10, "aa"]
    assert run("def f(x): return 4").passed == (True, False)
    assert run("def f(x): return float(x + x)").passed == (True, True)


def test_a_script_prints():
    inputs = PublicInputs(None, (StdinTest("1 2\n", "3\n"),), ("4 5\n",))
    ran = run("print(sum(map(int, input().split())), '')", inputs)
    assert ran.passed == (True,)
    assert [outcome.value.strip() for outcome in ran.outcomes] == ["3", "9"]


def test_equal_outcomes_are_one_class_and_failures_of_one_kind_too():
    programs = (
        "def f(x): return x * 2",
        "def f(x): return x + x if x != 5 else 10.0",
        "def f(x): return [x] if x == 'a' else x ** 2",
        "def f(x): return 1 // 0",
        "def f(x): return 2 // 0",
        "def f(x): return x.nothing",
        "def f(x) return",
        "def f(x): pass",
    )
    classes, results = outcome_classes([run(program) for program in programs])
    assert classes[0].tolist() == classes[1].tolist()
    assert classes[3].tolist() == classes[4].tolist()
    assert len({row[2] for row in classes.tolist()}) == 6
    assert results.all(axis=1).tolist() == [True, True, True, False, False, False, False, False]
    assert not results[3:].any()


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ((1, 2), [1, 2], True),
        (1, True, True),
        (0.1 + 0.2, 0.3, True),
        ([5], 5, False),
        ("1", 1, False),
        ({"1": 2}, {1: 2}, False),
        ({1, 2, 3}, {3, 2, 1}, True),
        (None, None, True),
    ],
)
def test_results_are_the_same_if_each_counts_as_the_other(one, other, alike):
    first, second = Outcome("returned", one), Outcome("returned", other)
    assert same(first, second) == same(second, first) == alike


def test_printed_text_is_compared_as_printed():
    assert same(Outcome("printed", "1 2\n"), Outcome("printed", " 1  2"))
    assert not same(Outcome("printed", "1 2"), Outcome("printed", "1\n2"))
    assert not same(Outcome("printed", "1"), Outcome("returned", "1"))


def test_nothing_is_no_result():
    nothing = (Outcome("returned", None), Outcome("printed", " \n"), Outcome("exception", ("E", "")), Outcome("timeout"))
    assert not any(map(gives_result, nothing))
    assert gives_result(Outcome("returned", 0))


def test_an_endless_program_is_run_no_further():
    limits = replace(PUBLIC_LIMITS, cpu_seconds=1, wall_seconds=2.0)
    start = time.monotonic()
    ran = execute("def f(x):\n    while x != 3: pass\n    return 6", CALLS, ISOLATION, limits)
    assert ran.outcomes[0].status == "timeout"
    assert ran.outcomes[1:] == (None, None, None)
    assert ran.passed == (False, False)
    assert time.monotonic() - start < limits.program_seconds + 10
    classes, results = outcome_classes([ran, run("def f(x): return 1")])
    assert classes[0].tolist() == [0, NOT_RUN, NOT_RUN, NOT_RUN]
    assert not results[0].any()


def test_one_program_costs_no_more_than_its_own_limits():
    limits = replace(PUBLIC_LIMITS, wall_seconds=0.5, program_seconds=1.0)
    inputs = PublicInputs("f", (), tuple((i,) for i in range(50)))
    ran = execute("import time\ndef f(x): time.sleep(0.3); return x", inputs, ISOLATION, limits)
    assert ran.outcomes[0].value == 0
    assert ran.outcomes[-1] is None


def test_a_huge_result_is_none_at_all():
    ran = run("def f(x): return 'x' * 10 ** 6")
    assert {outcome.status for outcome in ran.outcomes} == {"no_result"}


def test_no_inputs_are_no_sandbox_and_no_classes():
    classes, results = outcome_classes([Execution((), ()), Execution((), ())])
    assert classes.shape == results.shape == (2, 0)
