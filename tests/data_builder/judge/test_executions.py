"""Outcomes on public inputs: what is the same, what is met, and what hostile programs cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from guided_gen.data_builder.judge.executions import NOT_RUN, PUBLIC_LIMITS, Execution, PublicRuns, table
from guided_gen.data_builder.judge.isolation import choose_isolation
from guided_gen.data_builder.judge.verdict import ProgramLimits
from guided_gen.data_builder.problems.problem import CallTest, StdinTest

ISOLATION = choose_isolation("auto")
DOUBLES = (CallTest((2,), 4), CallTest((3,), 6))


def ran(programs: Sequence[str], examples=DOUBLES, made=((5,), ("a",)), limits: ProgramLimits = PUBLIC_LIMITS) -> list[Execution]:
    entry_point = "f" if programs[0].startswith(("def f", "import", "f =")) else None
    with PublicRuns(entry_point, examples, ISOLATION, limits) as runs:
        runs.add(made)
        return [runs.run(program) for program in programs]


def returning(*results: str) -> list[int]:
    """The class of each of these results, written as Python."""
    return [one.classes[0] for one in ran([f"def f(x): return {result}" for result in results], (), ((0,),))]


def test_examples_are_met_by_the_judges_rules():
    double, four, floating = ran(["def f(x): return x * 2", "def f(x): return 4", "def f(x): return float(x + x)"])
    assert double.passed == floating.passed == 2
    assert [status for status, _, _ in four.examples] == ["passed", "wrong_answer"]
    assert four.examples[1] == ("wrong_answer", "4", "")


def test_sandboxes_that_stay_open_run_programs_on_inputs_to_come_and_end_at_last():
    programs = [f"def f(x): return x + {k}" for k in range(3)]
    with PublicRuns("f", (), ISOLATION, most_open=2) as kept, PublicRuns("f", (), ISOLATION) as fresh:
        for runs in (kept, fresh):
            runs.add(((1,),))
            for program in programs:
                runs.run(program)
            runs.add(((2,), ("a",)))
        opened = list(kept._open)
        found = [[runs.run(program) for program in reversed(programs)] for runs in (kept, fresh)]
        assert opened == programs[:2] and not fresh._open
    assert [(one.classes, one.results) for one in found[0]] == [(one.classes, one.results) for one in found[1]]
    assert not kept._open


def test_a_script_prints():
    (one,) = ran(["print(sum(map(int, input().split())), '')"], (StdinTest("1 2\n", "3\n"),), ("4 5\n",))
    assert one.passed == 1
    assert one.results == [True, True]


def test_equal_outcomes_are_one_class_and_failures_of_one_kind_too():
    executions = ran(
        [
            "def f(x): return x * 2",
            "def f(x): return x + x if x != 5 else 10.0",
            "def f(x): return [x] if x == 'a' else x ** 2",
            "def f(x): return 1 // 0",
            "def f(x): return 2 // 0",
            "def f(x): return x.nothing",
            "def f(x): pass",
        ]
    )
    classes, results = table(executions)
    assert classes[0].tolist() == classes[1].tolist()
    assert classes[3].tolist() == classes[4].tolist()
    assert len(set(classes[:, 2].tolist())) == 5
    assert results.all(axis=1).tolist() == [True] * 3 + [False] * 4
    assert not results[3:].any()


def test_results_are_the_same_if_one_counts_as_the_other_as_it_stands():
    assert returning("[1, 2]", "(1, 2)", "[1.0, 2]", "[2, 1]") == [0, 0, 0, 1]
    assert returning("1", "True", "'1'", "1 + 1e-12", "2") == [0, 0, 1, 0, 2]
    assert returning("{1, 2, 3}", "{3, 2, 1}", "[5]", "5", "{'1': 2}", "{1: 2}") == [0, 0, 1, 2, 3, 4]
    assert returning("None", "None", "0") == [0, 0, 1]


def test_printed_text_is_compared_as_printed():
    printing = [f"print({text!r}, end='')" for text in ("1 2\n", " 1  2", "1\n2", "", " ")]
    executions = ran(printing, (), ("",))
    assert [one.classes[0] for one in executions] == [0, 0, 1, 2, 2]
    assert [one.results[0] for one in executions] == [True, True, True, False, False]


def test_a_program_that_does_not_parse_has_no_outcomes_and_fails_all_examples():
    broken, fine = ran(["def f(x) return", "def f(x): return x * 2"])
    assert broken.passed == 0
    assert [status for status, _, _ in broken.examples] == ["syntax_error", "timeout"]
    assert not any(broken.results)
    assert len(broken.classes) == len(fine.classes) == 4


def test_an_endless_program_is_run_no_further():
    limits = replace(PUBLIC_LIMITS, cpu_seconds=1, wall_seconds=2.0)
    start = time.monotonic()
    endless, one = ran(["def f(x):\n    while x != 3: pass\n    return 6", "def f(x): return 1"], limits=limits)
    assert endless.classes == [0, NOT_RUN, NOT_RUN, NOT_RUN]
    assert endless.passed == 0
    assert time.monotonic() - start < 20
    assert one.results == [True] * 4


def test_one_program_costs_no_more_than_its_own_limits():
    limits = replace(PUBLIC_LIMITS, wall_seconds=0.5, program_seconds=1.0)
    slow, fast = ran(
        ["import time\ndef f(x): time.sleep(0.3); return x", "def f(x): return x"], (), [(i,) for i in range(50)], limits
    )
    assert slow.classes[0] == fast.classes[0]
    assert slow.classes[-1] == NOT_RUN
    assert fast.classes[-1] == 0


@pytest.mark.parametrize(
    "result", ["'x' * 10 ** 6", "10 ** 10 ** 5", "print", "float('nan')", "{i * (2**61 - 1) for i in range(3000)}"]
)
def test_results_that_cannot_be_read_or_compared_are_like_no_other(result):
    executions = ran([f"def f(x): return {result}", "def f(x): return 1"], (), ((0,),))
    assert executions[0].classes != executions[1].classes
    assert executions[1].results == [True]


def test_inputs_that_are_added_later_are_run_then():
    programs = ["def f(x): return x", "def f(x): return abs(x)"]
    with PublicRuns("f", DOUBLES, ISOLATION) as runs:
        before = [list(runs.run(program).classes) for program in programs]
        runs.add([(-1,)])
        after = [runs.run(program) for program in programs]
    assert [one.classes[:2] for one in after] == before == [[0, 0], [0, 0]]
    assert [one.classes[2] for one in after] == [0, 1]
    assert [len(one.examples) for one in after] == [2, 2]


def test_later_inputs_are_run_in_what_a_programs_time_leaves(monkeypatch):
    limits = replace(PUBLIC_LIMITS, wall_seconds=0.5, program_seconds=1.0)
    slow, endless = "import time\ndef f(x): time.sleep(0.3); return x", "def f(x):\n    while True: pass"
    with PublicRuns("f", (), ISOLATION, limits) as runs:
        runs.add([(i,) for i in range(9)])
        for program in (slow, endless):
            runs.run(program)
        monkeypatch.setattr("guided_gen.data_builder.judge.program.started_sandbox", None)
        runs.add([(9,)])
        assert [runs.run(program).classes[-1] for program in (slow, endless)] == [NOT_RUN, NOT_RUN]
        assert len(runs.run(slow).classes) == len(runs.run(endless).classes) == 10


def test_no_inputs_are_no_sandbox_and_no_classes(monkeypatch):
    monkeypatch.setattr("guided_gen.data_builder.judge.program.started_sandbox", None)
    classes, results = table(ran(["def f(x): return x"] * 2, (), ()))
    assert classes.shape == results.shape == (2, 0)
    assert table([])[0].shape == (0, 0)
    assert np.issubdtype(classes.dtype, np.integer)
