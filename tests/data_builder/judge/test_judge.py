import collections
import os
from dataclasses import replace
from pathlib import Path

import pytest

from guided_gen.data_builder.judge import wire
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.program import JudgeError
from guided_gen.data_builder.judge.verdict import ProgramLimits
from guided_gen.data_builder.problems.problem import AssertTest, CallTest, Problem, StdinTest

LIMITS = ProgramLimits(cpu_seconds=1, wall_seconds=1.5, memory_bytes=400 << 20)
ADD = Problem("p/add", "", "p", entry_point="add", tests=tuple(CallTest((n, 10), n + 10) for n in range(3)))
DOUBLE = Problem("p/double", "", "p", tests=tuple(StdinTest(f"{n}\n", f"{2 * n}\n") for n in range(3)))
ASSERTED = Problem(
    "p/asserted", "", "p", entry_point="add", tests=(AssertTest("assert add(1, 2) == 3\nassert add('a', b='b') == 'ab'"),)
)


@pytest.fixture(scope="module")
def judge():
    """At the strongest level: verdicts are the same at each, as the tests of attacks show."""
    with Judge(workers=1, limits=LIMITS) as judge:
        yield judge


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def add(a, b): return a + b", "passed"),
        ("class Solution:\n    def add(self, a, b): return a + b", "passed"),
        ("def add(a, b): return a - b", "wrong_answer"),
        ("def add(a, b): return object()", "wrong_answer"),
        ("def add(a, b): print('noise'); return a + b", "passed"),
        ("def add(a, b): return a / 0", "exception"),
        ("def plus(a, b): return a + b", "exception"),
        ("", "exception"),
        ("import no_such_module\ndef add(a, b): return a + b", "exception"),
        ("def add(a, b)\n    return a + b", "syntax_error"),
        ("def add(a, b): return a + b\x00", "syntax_error"),
        ("return 1", "syntax_error"),
        ("def add(a, b):\n    while True: pass", "timeout"),
        ("def add(a, b): return len(bytearray(1 << 30))", "memory"),
        ("import os\ndef add(a, b): os._exit(0)", "no_result"),
        ("if __name__ == '__main__': raise ValueError\ndef add(a, b): return a + b", "passed"),
    ],
)
def test_a_call_based_program_gets_the_status_it_deserves(judge, program, status):
    verdict = judge.judge(ADD, program)
    assert verdict.status == status
    assert verdict.passed == (status == "passed") == (verdict.failure is None)
    assert verdict.isolation == judge.isolation
    assert verdict.tests == (("syntax_error",) if status == "syntax_error" else (status,) * 3)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("print(2 * int(input()))", "passed"),
        ("import sys\nsys.stdout.write(str(2 * int(sys.stdin.readline())))", "passed"),
        ("import os\nos.write(1, b'%d' % (2 * int(os.read(0, 100))))", "passed"),
        ("print(2 * int(open(0).read()))", "passed"),
        ("def main():\n    print(2 * int(input()))\nif __name__ == '__main__': main()", "passed"),
        ("import sys\nprint(2 * int(input()))\nsys.exit(1)", "passed"),
        ("n = int(input())\nif n == 0:\n    print(0)\n    return\nprint(2 * n)", "passed"),
        ("import threading\nt = threading.Thread(target=lambda: print(2 * int(input())))\nt.start()", "passed"),
        ("import atexit, sys\nn = input()\natexit.register(lambda: print(2 * int(n)))", "passed"),
        ("print(3 * int(input()) + 1)", "wrong_answer"),
        ("", "wrong_answer"),
        ("input(); input()", "exception"),
        ("print(2 * int(input()))\nraise ValueError", "exception"),
        ("import os\nos.write(1, b'%d' % (2 * int(input())))\nos._exit(0)", "no_result"),
        ("while True: print('x' * 1000)", "no_result"),
    ],
)
def test_a_program_that_reads_standard_input_gets_the_status_it_deserves(judge, program, status):
    assert judge.judge(DOUBLE, program).status == status


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def add(a, b): return a + b", "passed"),
        ("def add(a, b): return 3", "wrong_answer"),
        ("def add(a, b): raise KeyError('no')", "exception"),
        ("def add(a, b): return object()", "wrong_answer"),
        ("def add(a, b)", "syntax_error"),
        ("def add(a, b):\n    while True: pass", "timeout"),
        ("import os\ndef add(a, b): os._exit(0)", "no_result"),
    ],
)
def test_an_assert_is_examined_outside_the_program(judge, program, status):
    assert judge.judge(ASSERTED, program).status == status


def test_an_assert_sees_the_exceptions_of_the_program(judge):
    expects = "try:\n    add(1, 2)\nexcept ValueError as error:\n    assert str(error) == 'no'\nelse:\n    assert False"
    problem = replace(ASSERTED, tests=(AssertTest(expects),))
    assert judge.judge(problem, "def add(a, b): raise ValueError('no')").passed
    assert judge.judge(problem, "def add(a, b): raise KeyError('no')").status == "exception"
    assert judge.judge(problem, "def add(a, b): return 3").status == "wrong_answer"


def test_an_assert_that_does_not_end_is_the_programs_timeout_and_harms_no_later_test():
    endless = replace(ASSERTED, tests=(AssertTest("while add(1, 2): pass"),))
    with Judge(workers=1, limits=replace(LIMITS, program_seconds=2)) as judge:
        assert judge.judge(endless, "def add(a, b): return a + b").status == "timeout"
        assert judge.judge(ASSERTED, "def add(a, b): return a + b").passed


def test_the_first_failing_test_is_kept(judge):
    verdict = judge.judge(ADD, "def add(a, b): return [a] if a else a + b")
    assert verdict.tests == ("passed", "wrong_answer", "wrong_answer")
    failure = verdict.failure
    assert (failure.index, failure.input, failure.expected, failure.got) == (1, "(1, 10)", "11", "[1]")
    assert len(failure.input_digest) == 16
    printed = judge.judge(DOUBLE, "print(7)").failure
    assert (printed.index, printed.input, printed.expected, printed.got) == (0, "0\n", "0\n", "7\n")
    error = judge.judge(ADD, "\n\ndef add(a, b):\n    return {}[a]").failure.error
    assert error == "KeyError: 0 (line 4)"


def test_integers_that_python_does_not_print_are_judged_like_others(judge):
    large = 3**12_000
    problem = Problem("p/large", "", "p", entry_point="f", tests=(CallTest((large,), large + 1),))
    assert judge.judge(problem, "def f(n): return n + 1").passed
    failure = judge.judge(problem, "def f(n): return n + 2").failure
    assert (failure.input, failure.got) == ("<tuple too large to print>", "<int too large to print>")


COSTLY = """
class T(tuple):
    def __hash__(self): return id(self)
    def __eq__(self, other): return self is other
def add(a, b): return {T([i * (2 ** 61 - 1)]) for i in range(1, 20_000)}
"""


def test_a_result_that_takes_for_ever_to_read_fails_within_the_limits_of_its_program():
    with Judge(workers=1, limits=replace(LIMITS, wall_seconds=1)) as judge:
        verdict = judge.judge(replace(ADD, tests=ADD.tests[:1]), COSTLY)
        assert verdict.status == "no_result"
        assert verdict.failure.error == "the result cannot be read in time"
        assert judge.judge(ADD, "def add(a, b): return a + b").passed


@pytest.mark.parametrize("problem", [ADD, ASSERTED], ids=lambda problem: problem.id)
def test_nothing_is_made_of_a_result_in_the_process_that_serves_others(monkeypatch, problem):
    """Sets of costly keys hold the interpreter's lock for as long as they take to make."""

    def closed(container, resolve):
        assert container.tag == b"t", "a frame is a tuple of scalars"
        return tuple(container.members)

    monkeypatch.setattr(wire, "_closed", closed)
    with Judge(workers=1, limits=LIMITS) as judge:
        program = "def add(a, b): return {frozenset([i]): [{i}, {i: (i,)}] for i in range(9)}"
        assert judge.judge(problem, program).failure.got.startswith("{frozenset({0}): [{0}, {0: (0,)}]")


def test_inputs_are_fresh_and_nothing_stays_from_test_to_test(judge):
    spoils = "seen = []\ndef f(items):\n    items.append(1)\n    seen.append(1)\n    open('file', 'a').write('x')\n"
    spoils += "    import os, math\n    math.pi += 1\n    return [len(items), len(seen), os.path.getsize('file'), math.pi]"
    shared = [0]
    tests = tuple(CallTest((shared,), [2, 1, 1, 4.141592653589793]) for _ in range(4))
    assert judge.judge(Problem("p/fresh", "", "p", entry_point="f", tests=tests), spoils).passed
    assert shared == [0]


def test_a_test_that_destroys_its_process_costs_only_itself(judge):
    program = "import os, ctypes\ndef add(a, b):\n    if a == 0: ctypes.string_at(0)\n"
    program += "    if a == 1: os.kill(os.getppid(), 9), os._exit(1)\n    return a + b"
    verdict = judge.judge(ADD, program)
    assert verdict.tests in [("no_result", "no_result", "passed"), ("no_result", "exception", "passed")]


def test_the_usual_names_are_there_and_numpy_too(judge):
    program = "def add(a, b): return gcd(0, int(np.int64(a))) + max(nlargest(1, deque([b]))) + len(List[int].__args__) - 1"
    assert judge.judge(ADD, program).passed


def test_values_of_every_plain_type_go_in_and_come_out(judge):
    value = [None, True, -5, 10**30, 2.5, "é\n", b"\x00", (1, [2]), {3}, {"a": {1: ()}}]
    problem = Problem("p/echo", "", "p", entry_point="f", tests=(CallTest((value,), value),))
    assert judge.judge(problem, "def f(x): return x").passed
    assert judge.judge(problem, "def f(x): return str(x)").status == "wrong_answer"


def test_a_megabyte_goes_in_and_comes_out(judge):
    text = "0123456789\n" * 200_000
    problem = Problem("p/large", "", "p", tests=(StdinTest(text, text),))
    assert judge.judge(problem, "import sys\nsys.stdout.write(sys.stdin.read())").passed


def test_time_for_a_program_ends_at_its_limit():
    problem = replace(ADD, tests=ADD.tests * 20)
    with Judge(workers=1, limits=replace(LIMITS, wall_seconds=0.5, program_seconds=1)) as judge:
        verdict = judge.judge(problem, "import time\ndef add(a, b): time.sleep(9)")
        assert verdict.tests == ("timeout",) * 60
        assert "no time left" not in verdict.failure.error
        assert verdict.seconds < 9


def test_judging_can_stop_at_the_first_failure():
    with Judge(workers=1, stop_at_first_failure=True) as judge:
        assert judge.judge(ADD, "def add(a, b): return 10").tests == ("passed", "wrong_answer")


def test_the_same_program_gets_the_same_verdict_though_it_rolls_dice(judge):
    problem = replace(ADD, tests=ADD.tests[:1])
    program = "import random\ndef add(a, b): return [random.random(), list({'a', 'b', 'c', 'd', 'e'})]"
    got = {judge.judge(problem, program + "\n" * n).failure.got for n in range(4)}
    assert len(got) == 1


def test_many_are_judged_as_they_come_and_equal_programs_once():
    slow = "import time\ntime.sleep(0.5)\ndef add(a, b): return a + b"
    fast = "def add(a, b): return a + b"
    read = []

    def items():
        for key, program in enumerate([slow, *[fast] * 40]):
            read.append(key)
            yield key, ADD, program

    with Judge(workers=2, limits=replace(LIMITS, wall_seconds=5)) as judge:
        results = judge.judge_many(items())
        first = next(results)
        assert first[0] != 0, "the slow one holds up nothing"
        verdicts = dict([first, *results])
        assert sorted(verdicts) == list(range(41))
        assert all(verdict.passed for verdict in verdicts.values())
        assert len({id(verdicts[key]) for key in range(1, 41)}) == 1


def test_equal_programs_of_different_problems_are_told_apart(judge):
    other = replace(ADD, tests=(CallTest((1, 1), 3),))
    program = "def add(a, b): return a + b"
    assert judge.judge(ADD, program).passed
    assert not judge.judge(other, program).passed


def test_submit_does_not_wait(judge):
    future = judge.submit(ADD, "import time\ntime.sleep(0.3)\ndef add(a, b): return a + b")
    assert not future.done()
    assert future.result().passed


def test_an_endless_stream_is_read_only_a_little_ahead():
    taken: collections.Counter[str] = collections.Counter()

    def endless():
        while True:
            taken["items"] += 1
            yield taken["items"], ADD, f"def add(a, b): return a + b  # {taken['items']}"

    with Judge(workers=2) as judge:
        results = judge.judge_many(endless())
        for _ in range(3):
            next(results)
        assert taken["items"] < 20


def test_problems_that_cannot_be_judged_are_errors(judge):
    with pytest.raises(JudgeError, match="no tests"):
        judge.judge(replace(ADD, tests=()), "")
    with pytest.raises(JudgeError, match="cannot be sent"):
        judge.judge(replace(ADD, tests=(CallTest((object(),), 1),)), "def add(a): return 1")


def test_nothing_is_left_after_many_programs(level, sandboxes_of):
    def open_files():
        return {path.name for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}

    before, running = open_files(), sandboxes_of(os.getpid())
    with Judge(level, workers=2, limits=LIMITS) as judge:
        programs = ["def add(a, b): return a + b", "import os\nos.abort()", "import os\nos._exit(1)", "open('x', 'w').write('x')"]
        short = replace(ADD, tests=ADD.tests[:1])
        verdicts = list(judge.judge_many((n, short, f"{text}\n# {n}") for n, text in enumerate(programs * 3)))
        assert len(verdicts) == 12
        list(judge.judge_many([(0, ASSERTED, "def add(a, b): return a + b")]))
    assert open_files() == before
    assert sandboxes_of(os.getpid()) == running
