"""The judge agrees with CPython about programs that read standard input, and about what functions return."""

import itertools
from typing import Any

import pytest

from guided_gen.data_builder.judge.isolation import available_levels
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.verdict import ProgramLimits
from guided_gen.data_builder.problems.problem import CallTest, Problem, StdinTest

# Reads n and prints 3 * n + 1, in many ways.
SCRIPT = Problem("p/script", "", "p", tests=(StdinTest("5\n", "16\n"), StdinTest("0\n", "1\n")))


@pytest.fixture(scope="module")
def judge():
    with Judge() as judge:
        yield judge


SCRIPTS = {
    "exit": "print(3 * int(input()) + 1)\nexit()\nprint('not reached')",
    "quit in a function": "def go():\n    print(3 * int(input()) + 1)\n    quit(3)\ngo()\nprint('not reached')",
    "exit with text": "print(3 * int(input()) + 1)\nexit('done')",
    "exit in a loop": "while True:\n    for _ in range(2):\n        print(3 * int(input()) + 1)\n        exit(0)",
    "no arguments": "import sys\nassert len(sys.argv) == 1 and sys.argv[0]\nprint(3 * int(input()) + 1)",
    "a file, if one is named": "import sys\nf = open(sys.argv[1]) if sys.argv[1:] else sys.stdin\nprint(3 * int(f.readline()) + 1)",
    "fileinput": "import fileinput\nfor line in fileinput.input():\n    print(3 * int(line) + 1)",
    "fileinput by path": "import fileinput\nprint(*(3 * int(x) + 1 for x in fileinput.input('/dev/stdin')))",
    "/dev/stdin": "print(3 * int(open('/dev/stdin').read()) + 1)",
    "/dev/stdin as sys.stdin": "import sys\nsys.stdin = open('/dev/stdin')\nprint(3 * int(input()) + 1)",
    "/dev/stdin, pathlib": "from pathlib import Path\nprint(3 * int(Path('/dev/stdin').read_text()) + 1)",
    "/dev/stdin, os": "import os\nprint(3 * int(os.read(os.open('/dev/stdin', os.O_RDONLY), 99)) + 1)",
    "/dev/stdin, numpy": "import numpy as np\nprint(int(3 * np.loadtxt('/dev/stdin') + 1))",
    "/dev/fd/0": "with open('/dev/fd/0', 'rb') as f: print(3 * int(f.read()) + 1)",
    "/dev/stdout": "with open('/dev/stdout', 'w') as f: print(3 * int(input()) + 1, file=f)",
    "detached": "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.detach(), write_through=True)\nprint(3 * int(input()) + 1)",
    "detached and kept": "import io, sys\nout = io.TextIOWrapper(sys.stdout.detach())\nout.write(str(3 * int(input()) + 1))",
    "detached bytes": "import sys\nraw = sys.stdout.detach()\nraw.write(b'%d' % (3 * int(input()) + 1))",
    "opened and never closed": "import os\nout = os.fdopen(1, 'w')\nout.write(str(3 * int(input()) + 1))",
    "closed stdout": "import sys\nprint(3 * int(input()) + 1)\nsys.stdout.close()",
    "buffered": "import io, os\nout = io.BytesIO()\nout.write(b'%d' % (3 * int(input()) + 1))\nos.write(1, out.getvalue())",
    "return in try": "try:\n    print(3 * int(input()) + 1)\n    return\nexcept:\n    print('caught')",
    "return past else": "for _ in range(3):\n    try:\n        n = int(input())\n    finally:\n        print(3 * n + 1)\n        return\n",
    "return in with": "import contextlib\nwith contextlib.suppress(BaseException):\n    print(3 * int(input()) + 1)\n    return\nprint(0)",
    "return and global": "n = 0\ndef f():\n    global n\n    n += int(input())\nf()\nprint(3 * n + 1)\nif n >= 0: return\nprint(9)",
    "return and globals()": "n = int(input())\nprint(3 * globals()['n'] + 1)\nreturn\nfrom math import *",
    "nonlocal": "n = 1\ndef f():\n    nonlocal n\n    n += 3 * int(input())\nf()\nprint(n)",
    "nonlocal and global": "n, m = 1, 3\ndef f():\n    global m\n    nonlocal n\n    n += m * int(input())\nf()\nprint(n)",
    "annotated and return": "n: int = int(input())\nprint(3 * n + 1)\nreturn",
    "byte-order mark": "\ufeffprint(3 * int(input()) + 1)",
    "/dev/null": "import os, sys\nsys.stderr = open(os.devnull, 'w')\nprint('x', file=sys.stderr)\nprint(3 * int(input()) + 1)",
    "typing": "def f(a: Optional[int], b: Union[int, str] = 1) -> Dict[str, Any]: return {'r': 3 * a + b}\nprint(f(int(input()))['r'])",
    "more typing": "f: Callable[..., int] = lambda s: max(s)\ndef g(a: Set[int], *b: Iterable[str]): return f(a)\nprint(g({3 * int(input()) + 1}))",
    "a pool of threads": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)\n"
        "pool.submit(lambda: print(3 * int(input()) + 1))"
    ),
    "its own file": "import os\nprint(3 * int(input()) + 1 if os.path.basename(__file__) else '')",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_what_it_does_in_cpython(judge, name):
    verdict = judge.judge(SCRIPT, SCRIPTS[name])
    assert verdict.passed, verdict.failure


PROCESSES = {
    "a queue": (
        "import multiprocessing as mp\ndef work(q, n): q.put(3 * n + 1)\nif __name__ == '__main__':\n"
        "    q = mp.Queue()\n    p = mp.Process(target=work, args=(q, int(input())))\n    p.start()\n    print(q.get())\n    p.join()"
    ),
    "a pool": "from multiprocessing import Pool\nwith Pool(2) as pool: print(sum(pool.map(abs, [3 * int(input()), 1])))",
    "an executor": (
        "from concurrent.futures import ProcessPoolExecutor\ndef f(n): return 3 * n + 1\n"
        "with ProcessPoolExecutor(2) as pool: print(*pool.map(f, [int(input())]))"
    ),
    "a lock and a value": (
        "from multiprocessing import Lock, Process, Value\nn, lock = Value('i', 1), Lock()\ndef f(m):\n"
        "    with lock: n.value += m\nm = int(input())\nps = [Process(target=f, args=(m,)) for _ in range(3)]\n"
        "for p in ps: p.start()\nfor p in ps: p.join()\nprint(n.value)"
    ),
    "locks, events and full queues": (
        "import multiprocessing as mp, queue\nq, r, s, e, c = mp.Queue(1), mp.RLock(), mp.BoundedSemaphore(2), mp.Event(), mp.Condition()\n"
        "q.put(int(input()))\ntry: q.put(0, timeout=0.05)\nexcept queue.Full: pass\nwith r, r, c: assert not c.wait(0.01)\n"
        "assert s.acquire() and s.acquire() and not s.acquire(False) and s.get_value() == 0\ns.release(), s.release()\n"
        "try: s.release()\nexcept ValueError: print(3 * q.get() + 1)\np = mp.Process(target=e.set)\np.start()\nassert e.wait(5)\np.join()"
    ),
    "a manager": (
        "from multiprocessing import Manager\nwith Manager() as manager:\n    d = manager.dict(n=int(input()))\n    print(3 * d['n'] + 1)"
    ),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_script_may_use_several_processes(level, name):
    if (level, name) == ("rlimits", "a manager"):
        pytest.skip("a manager listens at a socket, which the level rlimits has not")
    with Judge(level) as judge:
        verdict = judge.judge(SCRIPT, PROCESSES[name])
    assert verdict.passed, verdict.failure


def test_standard_paths_and_devices_are_there_at_every_level(level):
    with Judge(level) as judge:
        for name in ("/dev/null", "/dev/stdin", "/dev/stdout"):
            verdict = judge.judge(SCRIPT, SCRIPTS[name])
            assert verdict.passed, verdict.failure


def test_a_script_that_python_refuses_is_refused(judge):
    for program in ("def f():\n    nonlocal n\nprint(1)", "return = 1", "yield 1", "class A:\n    return 1", "await f()"):
        assert judge.judge(SCRIPT, program).status == "syntax_error", program


def nested(depth):
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


RESULTS = {
    "Decimal": ("from decimal import Decimal\ndef f(n): return Decimal(n) / 4", 2.5),
    "Decimals in a list": ("from decimal import Decimal\ndef f(n): return [Decimal('0.1') * n, Decimal(n)]", [1.0, 10]),
    "Fraction": ("from fractions import Fraction\ndef f(n): return {'r': Fraction(n, 5)}", {"r": 2}),
    "close to a float": ("from fractions import Fraction\ndef f(n): return Fraction(n, 3)", 3.33333333),
    "SymPy": ("import sympy\ndef f(n): return [sympy.Integer(n), sympy.Rational(n, 4), sympy.Float(0.5)]", [10, 2.5, 0.5]),
    "frozenset": ("def f(n): return frozenset(range(n))", set(range(10))),
    "sets in a dict": ("def f(n): return {1: {frozenset([n])}}", {1: {frozenset([10])}}),
    "OrderedDict": ("from collections import OrderedDict\ndef f(n): return OrderedDict(b=n, a=1)", {"a": 1, "b": 10}),
    "keys": ("def f(n): return dict.fromkeys(range(n)).keys()", set(range(10))),
    "a large integer": ("def f(n): return n ** 60_000 - 1", 10**60_000 - 1),
    "200,000 digits": ("def f(n): return [n ** 200_000]", [10**200_000]),
    "a large set": ("def f(n): return {i * i for i in range(2000 * n)}", {i * i for i in range(20_000)}),
    "a large dict": ("def f(n): return {str(i): [i] for i in range(2000 * n)}", {str(i): [i] for i in range(20_000)}),
    "a deep list": ("def f(n):\n    r = []\n    for _ in range(90 * n): r = [r]\n    return r", nested(900)),
    "bytearray": ("def f(n): return bytearray(b'ab')", b"ab"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_equals_the_expected_one_passes(judge, name):
    program, expected = RESULTS[name]
    problem = Problem("p/result", "", "p", entry_point="f", tests=(CallTest((10,), expected),))
    verdict = judge.judge(problem, program)
    assert verdict.passed, verdict.failure
    wrong = Problem("p/wrong", "", "p", entry_point="f", tests=(CallTest((10,), [expected, 1]),))
    assert judge.judge(wrong, program).status == "wrong_answer"


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(n): return range(n)", [0, 1]),
        ("from decimal import Decimal\ndef f(n): return Decimal('sNaN')", 1),
        ("from decimal import Decimal\ndef f(n): return Decimal('1.1')", 1),
        ("from fractions import Fraction\ndef f(n): return Fraction(3, 2)", 1),
        ("import numpy as np\ndef f(n): return np.array([1, 2])", [1, 2]),
        ("from collections import deque\ndef f(n): return deque([1, 2])", [1, 2]),
        ("def f(n): return {1: 2}.keys()", [1]),
    ],
)
def test_a_result_that_does_not_equal_the_expected_one_fails(judge, program, expected):
    problem = Problem("p/result", "", "p", entry_point="f", tests=(CallTest((2,), expected),))
    assert judge.judge(problem, program).status == "wrong_answer"


def test_results_pass_up_to_the_limit_in_bytes():
    with Judge(limits=ProgramLimits(output_bytes=1 << 18)) as judge:
        for count, status in ((30_000, "passed"), (40_000, "no_result")):
            problem = Problem("p/large", "", "p", entry_point="f", tests=(CallTest((count,), set(range(count))),))
            verdict = judge.judge(problem, "def f(n): return set(range(n))")
            assert verdict.status == status, verdict.failure.error
    assert "more than 262144 bytes" in verdict.failure.error


def test_nothing_of_a_program_stays_where_semaphores_are():
    program = "import os\ndef f(n):\n    seen = os.listdir('/dev/shm')\n    open('/dev/shm/left', 'w').close()\n    return seen"
    for level in itertools.islice(available_levels(), 2):
        problem = Problem("p/left", "", "p", entry_point="f", tests=(CallTest((1,), []), CallTest((2,), [])))
        with Judge(level) as judge:
            assert judge.judge(problem, program).passed or level == "rlimits"
