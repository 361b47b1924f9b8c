"""Assert statements about what cannot be copied into the process that runs them, and what a program learns of them meanwhile."""

from typing import Any

import pytest

from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.program import JudgeError
from guided_gen.data_builder.problems.problem import AssertTest, Problem


@pytest.fixture(scope="module")
def run():
    """A function: the verdict on a program by one test."""
    with Judge() as judge:
        yield lambda program, code: judge.judge(
            Problem("p/asserts", "", "p", entry_point="f", tests=(AssertTest(code),)), program
        )


# What a program does, a test that it passes, and one that it fails.
RIGHT_AND_WRONG = {
    "generator": ("def f(n):\n    while n: yield n; n -= 1", "assert list(f(3)) == [3, 2, 1]", "assert list(f(3)) == [3, 2]"),
    "endless generator": (
        "def f():\n    n = 1\n    while True: yield n; n *= 2",
        "from itertools import islice\nassert list(islice(f(), 40)) == [2 ** i for i in range(40)]\ng = f()\nassert next(g) == 1",
        "assert next(f()) == 2",
    ),
    "generator that raises": (
        "def f(n):\n    yield from range(n)\n    raise KeyError(n)",
        "seen = []\ntry:\n    for item in f(30): seen.append(item)\nexcept KeyError as e: seen.append(e.args[0])\nassert seen == [*range(31)]",
        "list(f(30))",
    ),
    "generator that is sent to": (
        "def f():\n    total = 0\n    while True: total += (yield total)",
        "g = f()\nnext(g)\nassert [g.send(2), g.send(3)] == [2, 5]",
        "g = f()\nnext(g)\nassert g.send(2) == 3",
    ),
    "map": ("def f(n): return map(str, range(n))", "assert ''.join(f(3)) == '012'", "assert ''.join(f(3)) == '01'"),
    "zip in dict": (
        "def f(a): return zip(a, a[1:])",
        "assert dict(f([1, 2, 3])) == {1: 2, 2: 3}",
        "assert dict(f([1, 2])) == {1: 1}",
    ),
    "reversed": ("def f(a): return reversed(a)", "assert sorted(f([1, 3, 2])) == [1, 2, 3]", "assert list(f([1, 2])) == [1, 2]"),
    "range": ("def f(n): return range(1, n)", "assert f(3) == range(1, 3) and 2 in f(3)", "assert f(3) == range(3)"),
    "keys": (
        "def f(d): return d.keys()",
        "assert f({1: 2}) == {1} and list(f({2: 1, 1: 1})) == [2, 1]",
        "assert f({1: 2}) == {2}",
    ),
    "Decimal": (
        "from decimal import Decimal\ndef f(s): return Decimal(s)",
        "from decimal import Decimal\nassert f('0.10') == Decimal('0.1') and str(f('0.10')) == '0.10'",
        "assert f('0.1') == 0.1",
    ),
    "date": (
        "import datetime\ndef f(d): return d + datetime.timedelta(1)",
        "from datetime import date\nassert f(date(2020, 2, 28)) == date(2020, 2, 29)",
        "import datetime\nassert f(datetime.date(2020, 2, 28)).month == 3",
    ),
    "deque": (
        "from collections import deque\ndef f(d):\n    d.rotate(1)\n    return d",
        "from collections import deque\nd = deque([1, 2, 3])\nassert f(d) is d and d == deque([3, 1, 2])",
        "from collections import deque\nassert f(deque([1, 2])) == deque([1, 2])",
    ),
    "Counter": (
        "from collections import Counter\ndef f(s): return Counter(s)",
        "assert f('abca').most_common(1) == [('a', 2)] and f('ab') == {'a': 1, 'b': 1} and f('a')['z'] == 0",
        "assert f('abca').most_common(1) == [('b', 2)]",
    ),
    "OrderedDict": (
        "from collections import OrderedDict\ndef f(k): return OrderedDict.fromkeys(k)",
        "d = f('ab')\nd.move_to_end('a')\nassert list(d) == ['b', 'a']",
        "assert list(f('ab')) == ['b', 'a']",
    ),
    "a subclass of a date": (
        "import datetime\nclass D(datetime.date): pass\ndef f(y): return D(y, 1, 2)",
        "import datetime\nassert f(2020) == datetime.date(2020, 1, 2) and f(2020).day == 2",
        "assert f(2020).day == 1",
    ),
    "a subclass of a deque": (
        "from collections import deque\nclass D(deque): pass\ndef f(a): return D(a)",
        "from collections import deque\nassert f([1, 2]) == deque([1, 2]) and list(f('a')) == ['a']",
        "from collections import deque\nassert f([1]) == deque([2])",
    ),
    "a namespace": (
        "from types import SimpleNamespace\ndef f(n): return SimpleNamespace(n=n)",
        "from types import SimpleNamespace\nassert f(1) == SimpleNamespace(n=1) and f(2).n == 2",
        "assert f(1).n == 2",
    ),
    "a match": (
        "import re\ndef f(s): return re.match('a+', s)",
        "assert f('aab').group() == 'aa' and f('b') is None",
        "assert f('a').end() == 2",
    ),
    "a partial function": (
        "from functools import partial\ndef f(n): return partial(pow, n)",
        "assert f(2)(3) == 8 and callable(f(2))",
        "assert f(2)(3) == 9",
    ),
    "a subclass of dict": (
        "class D(dict):\n    def total(self): return sum(self.values())\ndef f(**k): return D(k)",
        "assert f(a=1, b=2).total() == 3 and f(a=1) == {'a': 1}",
        "assert f(a=1).total() == 2",
    ),
    "named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(a): return [P(a, -a)]",
        "p = f(2)[0]\nassert p == (2, -2) and p.y == -2 and p._asdict() == {'x': 2, 'y': -2} and f(2)[0]._replace(x=0) == (0, -2)",
        "assert f(2)[0].y == 2",
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(a): return P(a)",
        "assert f(2).x == 2 and f(2) == P(2) and isinstance(f(2), P) and repr(f(2)) == 'P(x=2)'",
        "assert f(2) == P(3)",
    ),
    "enum": (
        "import enum\nclass C(enum.Enum):\n    RED = 1\n    BLUE = 2\ndef f(n): return C(n)",
        "assert f(1) is C.RED and f(2) == C.BLUE and f(2).name == 'BLUE'",
        "assert f(1) == C.BLUE",
    ),
    "not None": ("class N: pass\ndef f(): return N()", "assert f() is not None and f() and f() != 5", "assert f() is None"),
    "numpy": (
        "import numpy as np\ndef f(a): return np.asarray(a) * 2",
        "import numpy as np\nassert np.array_equal(f([1, 2]), [2, 4]) and f(np.eye(2)).shape == (2, 2) and (f([1]) == [2]).all()",
        "import numpy as np\nassert np.allclose(f([1.0]), [1.0])",
    ),
    "numpy in place": (
        "def f(a): a[0] = 7",
        "import numpy as np\na = np.zeros(2)\nf(a)\nassert a.tolist() == [7, 0]",
        "import numpy as np\na = np.zeros(2)\nf(a)\nassert a.tolist() == [0, 0]",
    ),
    "argument changed": (
        "def f(a, d, s):\n    a.sort()\n    d['n'] = len(a)\n    s.discard(1)\n    return a",
        "a, d, s = [2, 1], {}, {1, 2}\nassert f(a, d, s) is a and a == [1, 2] and d == {'n': 2} and s == {2}",
        "a = [2, 1]\nf(a, {}, set())\nassert a == [2, 1]",
    ),
    "state": ("n = 0\ndef f():\n    global n\n    n += 1\n    return n", "assert f() == 1\nassert f() == 2", "assert f() == f()"),
    "closure": (
        "def f(n): return lambda x, *, y=0: n + x + y",
        "g = f(2)\nassert g(3) == 5 and g(3, y=1) == 6",
        "assert f(2)(3) == 4",
    ),
    "closure with state": (
        "def f():\n    n = []\n    def g(x):\n        n.append(x)\n        return n\n    return g",
        "g, h = f(), f()\ng(1)\nassert g(2) == [1, 2] and h(5) == [5]",
        "g = f()\ng(1)\nassert g(2) == [2]",
    ),
    "decorator": (
        "def f(g):\n    def h(*a): return 2 * g(*a)\n    return h",
        "@f\ndef add(a, b): return a + b\nassert add(1, 2) == 6",
        "assert f(len)('ab') == 2",
    ),
    "function as an argument": (
        "def f(g, a): return sorted(a, key=g)",
        "assert f(lambda x: -x, [1, 2]) == [2, 1] and f(len, ['aa', 'b']) == ['b', 'aa'] and f(str.lower, 'bA') == ['A', 'b']",
        "assert f(lambda x: x, [2, 1]) == [2, 1]",
    ),
    "function as an argument that raises": (
        "def f(g):\n    try: return g()\n    except ZeroDivisionError: return 'zero'",
        "assert f(lambda: 1 // 0) == 'zero'",
        "f(lambda: [][0])",
    ),
    "type as an argument": (
        "def f(t, v): return t(v)",
        "assert f(int, '3') == 3 and f(list, 'ab') == ['a', 'b']",
        "assert f(str, 3) == 3",
    ),
    "type as a result": ("def f(x): return type(x)", "assert f(3) is int and f('') == str", "assert f(3) is str"),
    "generator as an argument": (
        "def f(g): return sum(g)",
        "assert f(i * i for i in range(4)) == 14",
        "assert f(iter([1])) == 2",
    ),
    "endless iterator as an argument": (
        "def f(g): return [next(g), next(g)]",
        "from itertools import count\nassert f(count(5)) == [5, 6]",
        "from itertools import count\nassert f(count(5)) == [5, 5]",
    ),
    "objects of a class of the test": (
        "def f(node):\n    total = 0\n    while node:\n        total += node.value\n        node.seen = True\n        node = node.next\n    return total",
        "class Node:\n    def __init__(self, v, n=None): self.value, self.next = v, n\nn = Node(1, Node(2))\nassert f(n) == 3 and n.next.seen",
        "class Node:\n    def __init__(self, v, n=None): self.value, self.next = v, n\nassert f(Node(1)) == 2",
    ),
    "class of the program as an argument": (
        "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\ndef f(pairs): return max(p.a * p.b for p in pairs)",
        "assert f([Pair(1, 2), Pair(a=3, b=4)]) == 12",
        "assert f([Pair(1, 2)]) == 3",
    ),
    "class that is tested": (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n    def pop(self): return self.items.pop()\n"
        "    def find(self, x): return self.items.index(x)\n    def __len__(self): return len(self.items)\n    def __contains__(self, x): return x in self.items",
        "s = Stack()\ns.push(1)\ns.push([2])\nassert len(s) == 2 and 1 in s and s.find([2]) == 1 and s.pop() == [2] and s.items == [1]",
        "s = Stack()\ns.push(1)\nassert s.pop() == 2",
    ),
    "operators of a class": (
        "class V:\n    def __init__(self, *c): self.c = c\n    def __add__(s, o): return V(*map(sum, zip(s.c, o.c)))\n"
        "    def __mul__(s, k): return V(*(k * x for x in s.c))\n    def __getitem__(s, i): return s.c[i]\n    def __eq__(s, o): return s.c == o.c\n"
        "    def __hash__(s): return hash(s.c)",
        "assert V(1, 2) + V(3, 4) == V(4, 6) and (V(1, 2) * 3)[1] == 6 and len({V(1), V(1)}) == 1",
        "assert V(1, 2) + V(3, 4) == V(4, 5)",
    ),
    "exception of its own": (
        "class Negative(ValueError):\n    def __init__(self, n): super().__init__(f'{n} < 0'); self.n = n\ndef f(n):\n    if n < 0: raise Negative(n)",
        "for kind in (Negative, ValueError, Exception):\n    try: f(-3)\n    except kind as e: assert str(e) == '-3 < 0' and e.n == -3\n    else: assert False",
        "f(-3)",
    ),
    "exception with a base of its own": (
        "class A(Exception): pass\nclass B(A): pass\ndef f(): raise B('b')",
        "try: f()\nexcept A as e: assert type(e).__name__ == 'B' and e.args == ('b',)",
        "try: f()\nexcept LookupError: pass",
    ),
    "AssertionError": (
        "def f(n): assert n > 0, 'positive'",
        "try: f(0)\nexcept AssertionError as e: assert str(e) == 'positive'\nelse: raise KeyError",
        "f(0)",
    ),
    "a module that only the program imports": (
        "import math\ndef f(x): return x / 3",
        "assert math.isclose(f(1), 0.3333333333)",
        "assert math.isnan(f(1))",
    ),
    "a context": (
        "from contextlib import contextmanager\nlog = []\n@contextmanager\ndef f(n):\n    log.append(n)\n    yield n + 1\n    log.append('end')",
        "with f(1) as n: assert n == 2\nassert log == [1, 'end']",
        "with f(1) as n: assert n == 1",
    ),
    "recursion between both": (
        "def f(g, n): return n * g(f, n - 1) if n else 1",
        "def g(f, n): return f(g, n)\nassert f(g, 5) == 120",
        "assert f(lambda f, n: 1, 5) == 1",
    ),
    "attributes": (
        "def f():\n    f.calls += 1\nf.calls = 0",
        "f()\nf()\nassert f.calls == 2 and f.__name__ == 'f'",
        "f()\nassert f.calls == 0",
    ),
    "method of Solution": (
        "class Solution:\n    def f(self, a): return iter(a)",
        "assert list(f([1])) == [1]",
        "assert list(f([1])) == []",
    ),
}


@pytest.mark.parametrize("name", RIGHT_AND_WRONG)
def test_an_assert_is_as_true_as_in_cpython(run, name):
    program, right, wrong = RIGHT_AND_WRONG[name]
    for code, passes in ((right, True), (wrong, False)):
        namespace: dict[str, Any] = {}
        exec(program if "Solution" not in program else program + "\nf = Solution().f", namespace)
        try:
            exec(code, namespace)
            assert passes
        except Exception:
            assert not passes, code
        verdict = run(program, code)
        assert verdict.passed == passes, (code, verdict.failure)
        assert passes or verdict.status in ("wrong_answer", "exception")


LIAR = """
class Liar:
    asked = []
    def __init__(self, *a): pass
    def answer(self, *a, **k):
        Liar.asked.append((a, k))
        return True
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = answer
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __truediv__ = __mod__ = __and__ = __or__ = __rand__ = answer
    startswith = endswith = count = find = index = issubset = isdisjoint = answer
    __getattr__ = lambda self, name: self.answer
    __hash__ = lambda self: 0
    __len__ = lambda self: 1
    __iter__ = lambda self: iter([Liar(), Liar()])
    __bool__ = lambda self: True
    __enter__ = lambda self: self
    __exit__ = answer
def f(x): return Liar()
"""


@pytest.mark.parametrize(
    "condition",
    [
        "f(1) == 'secret'",
        "'secret' == f(1)",
        "not f(1) != 'secret'",
        "f(1) in ('secret', 'other')",
        "'secret' in f(1)",
        "f(1) < 'secret'",
        "f(1) - 5 == 0",
        "abs(f(1) - 5) < 1",
        "f(1) & {'secret'}",
        "f(1).startswith('secret')",
        "f(1).count('secret') == 1",
        "f(1).find('secret') == True",
        "{'secret'}.issubset(f(1))",
        "set(f(1)) == {'secret'}",
        "sorted(f(1)) == ['a', 'secret']",
        "list(f(1)) == ['a', 'secret']",
        "all(a == b for a, b in zip(f(1), ['a', 'secret']))",
        "str(f(1)) == 'secret'",
        "[f(1)] == ['secret']",
        "{1: f(1)} == {1: 'secret'}",
        "f(1) == 'secret' or f(1).asked == [(('secret',), {})]",
    ],
)
def test_an_object_that_agrees_with_everything_does_not_pass(run, condition):
    for code in (f"assert {condition}", f"with f(1): assert {condition}"):
        assert run(LIAR, code).status in ("wrong_answer", "exception"), code


SNOOP = """
found = []
def look(thing, depth=0):
    for name in ("gi_frame", "f_globals", "__globals__", "__code__", "__closure__", "__self__", "__dict__", "__class__", "secret", "_s"):
        try: found.append((name, getattr(thing, name)))
        except BaseException: pass
    try: found.append(thing.__globals__['secret'])
    except BaseException: pass
def f(*things):
    for thing in things: look(thing)
    return [str(part) for part in found]
"""


def test_a_program_sees_of_what_is_passed_to_it_no_more_than_it_is_for(run):
    test = "secret = 'se' + 'cret'\nclass T:\n    _s = secret\n    def m(self): return 1\n    def __call__(self): return secret\n"
    test += "def g(): return secret\nassert 'secret' not in repr(f(g, (i for i in secret), T(), T().m, T, print))"
    verdict = run(SNOOP, test)
    assert verdict.passed, verdict.failure


@pytest.mark.parametrize(
    "iterate", ["list(map(f, [1, 2]))", "[f(x) for x in (1, 2)]", "all(map(f, [1]))", "next(map(f, [1]), 5)"]
)
def test_stop_iteration_of_a_program_ends_nothing_in_the_test(run, iterate):
    verdict = run("def f(x): raise StopIteration(x)", f"assert {iterate} is not None")
    assert verdict.status == "exception"
    assert "StopIteration" in verdict.failure.error or "RuntimeError" in verdict.failure.error


def test_a_test_that_passes_what_cannot_be_sent_is_refused_not_the_program(run):
    with pytest.raises(JudgeError, match="Test 0 of problem p/asserts holds a value of type module, which cannot be sent"):
        run("def f(m): return 1", "import sys\nassert f(sys) == 1")


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("import os\ndef f(g):\n    g()\n    os._exit(0)", "no_result"),
        ("def f(g): return g() * 10 ** 9 * [0]", "memory"),
        ("def f(g):\n    while True: g()", "timeout"),
        ("def f(g", "syntax_error"),
        ("import sys\ndef f(g): sys.exit(0)", "exception"),
        ("raise KeyError('at import')\ndef f(g): return 1", "exception"),
        ("def f(g): return 'A' * (9 << 20)", "exception"),
        (
            "import os\ndef f(g):\n    for fd in range(3, 64):\n        try: os.write(fd, b'\\3\\0\\0\\0abc')\n        except OSError: pass\n    return 1",
            "no_result",
        ),
    ],
)
def test_a_program_that_breaks_off_while_it_is_asked_gets_the_status_it_deserves(program, status):
    from guided_gen.data_builder.judge.verdict import ProgramLimits

    with Judge(workers=1, limits=ProgramLimits(cpu_seconds=1, wall_seconds=2, memory_bytes=400 << 20)) as judge:
        problem = Problem("p/asserts", "", "p", entry_point="f", tests=(AssertTest("assert f(lambda: 1) == 1"),) * 2)
        verdict = judge.judge(problem, program)
        assert verdict.status == status, verdict.failure
        assert judge.judge(problem, "def f(g): return g()").passed
