"""Made inputs have the examples' types, are none of them, and stay within what the statement allows and the examples show."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.data_builder.problems.bounds import Range, bounds_in
from guided_gen.data_builder.problems.made_inputs import made_inputs
from guided_gen.data_builder.problems.problem import CallTest, Problem, StdinTest

BOUNDED = (
    "Count.\n\nConstraints:\n\n1 <= nums.length <= 5\n-10 <= nums[i] <= 10\n1 <= k <= nums.length\n"
    "$1 \\le |word| \\le 4$, 0 < size < 7"
)
VALUES = st.recursive(
    st.integers(-50, 50) | st.booleans() | st.floats(-9, 9) | st.text("abc", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)


def call_problem(starter: str, statement: str = "Do it.") -> Problem:
    return Problem("x/1", statement, "x", starter_code=starter, entry_point="f")


def kinds(value):
    """The types in a value, of a container's items those that occur."""
    if isinstance(value, list | tuple | set):
        return (type(value), frozenset().union(*(kinds_of_items(item) for item in value)) if value else frozenset())
    if isinstance(value, dict):
        return (dict, frozenset().union(*(kinds_of_items(item) for item in value.values())) if value else frozenset())
    return (type(value), frozenset())


def kinds_of_items(value):
    outer, inner = kinds(value)
    return frozenset([outer]) | inner


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=3), st.integers(0, 5))
def test_types_are_kept_no_input_is_an_example_and_a_seed_gives_the_same(examples, seed):
    tests = [CallTest(args, None) for args in examples]
    problem = call_problem("def f(a, b):")
    made = made_inputs(problem, tests, most=12, seed=seed)
    assert made == made_inputs(problem, tests, most=12, seed=seed)
    assert len(made) <= 12 and len(set(map(repr, made))) == len(made)
    assert not {repr(args) for args in made} & {repr(args) for args in examples}
    for args in made:
        assert isinstance(args, tuple) and len(args) == 2
        for index in (0, 1):
            outer, inner = kinds(args[index])
            shown = [kinds(example[index]) for example in examples]
            assert any(outer is one and inner <= items for one, items in shown)


def test_other_seeds_give_others():
    tests = [CallTest(([4, 1, 3, 2], "abc"), 0)]
    assert len({repr(made_inputs(call_problem("def f(a, b):"), tests, most=4, seed=seed)) for seed in range(6)}) > 1


def test_bounds_of_the_statement_are_kept():
    problem = call_problem("def f(nums: List[int], k: int, word: str, size: int) -> int:", BOUNDED)
    made: tuple[Any, ...] = made_inputs(
        problem, [CallTest(([1, -2, 3], 2, "abc", 4), 0), CallTest(([7], 1, "b", 1), 0)], most=200
    )
    assert len(made) > 20
    for nums, k, word, size in made:
        assert 1 <= len(nums) <= 5 and all(-10 <= number <= 10 for number in nums)
        assert 1 <= k <= len(nums) and 1 <= len(word) <= 4 and 1 <= size <= 6
    assert {len(nums) for nums, *_ in made} > {1, 3} and min(min(nums) for nums, *_ in made) < -2


@pytest.mark.parametrize(
    ("starter", "examples", "keeps"),
    [
        ("def f(n, items):", [(2, [5, 6]), (3, [1, 1, 2])], lambda n, items: n == len(items)),
        ("def f(a, b):", [([1, 2], [3, 4]), ([1], [2])], lambda a, b: len(a) == len(b)),
        ("def f(grid, k):", [([[1, 2], [3, 4]], 1), ([[1, 2, 3]], 2)], lambda grid, k: len({len(row) for row in grid}) == 1),
        ("def f(items, k):", [([1, 3, 9], 1), ([2, 4, 5, 6], 2)], lambda items, k: items == sorted(items)),
        ("def f(items, k):", [([4, 3, 9], 1), ([7, 4, 5, 6], 2)], lambda items, k: len(items) == len(set(items))),
        ("def f(n, k):", [(4, 5)], lambda n, k: n >= 0 and k >= 0),
    ],
)
def test_what_all_examples_show_is_kept(starter, examples, keeps):
    made = made_inputs(call_problem(starter), [CallTest(args, None) for args in examples], most=60)
    assert made and all(keeps(*args) for args in made)


def test_hints_alone_are_enough_and_without_types_none_are_made():
    hinted: tuple[Any, ...] = made_inputs(call_problem("def f(n: int, words: List[str]) -> int:", "n is a positive integer."), [])
    assert hinted and all(n >= 1 and all(isinstance(word, str) for word in words) for n, words in hinted)
    assert made_inputs(call_problem("def f(n, words):"), []) == ()
    assert made_inputs(call_problem("def f(root: TreeNode):"), []) == ()
    assert made_inputs(Problem("x/1", "Add.", "x"), []) == ()
    assert made_inputs(Problem("x/1", "f(x)", "x", entry_point="f"), []) == ()


def stdin(*texts: str, statement: str = "Add.", most: int = 40) -> list[list[list[str]]]:
    problem = Problem("x/1", statement, "x")
    made = made_inputs(problem, [StdinTest(text, "") for text in texts], most=most)
    assert made == made_inputs(problem, [StdinTest(text, "") for text in texts], most=most)
    assert not set(made) & set(texts) and len(set(made)) == len(made)
    return [[line.split() for line in text.splitlines()] for text in made if isinstance(text, str)]


def test_a_count_before_its_numbers_changes_with_them():
    made = stdin("3\n4 5 6\n", "2\n7 7\n")
    assert {len(rows[1]) for rows in made} > {2, 3}
    assert all(len(rows) == 2 and rows[0] == [str(len(rows[1]))] for rows in made)


def test_what_may_count_something_is_left_alone():
    made = stdin("2 3\n1 0 1\n0 1 0\n")
    assert made and all(rows[0] == ["2", "3"] and [len(row) for row in rows] == [2, 3, 3] for rows in made)
    made = stdin("2\n5 6\n7 8\n")
    assert made and all(rows[0] == ["2"] and [len(row) for row in rows] == [1, 2, 2] for rows in made)
    made = stdin("4\nabca\n")
    assert made and all(rows[0] == ["4"] and len(rows[1][0]) == 4 and set(rows[1][0]) <= set("abc") for rows in made)


def test_numbers_stay_within_the_bounds_of_the_statement():
    made = stdin("5 9\n", statement="$1 \\le a, b \\le 10$")
    assert made and all(1 <= int(item) <= 10 for rows in made for row in rows for item in row)
    made = stdin("5 9\n")
    assert made and all(int(item) >= 0 for rows in made for row in rows for item in row)


@given(st.lists(st.text("ab 12-\n.", max_size=30), max_size=3))
def test_no_example_makes_it_fail(texts):
    assert all(text.endswith("\n") for text in made_inputs(Problem("x/1", "Add.", "x"), [StdinTest(text, "") for text in texts]))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1 <= n <= 100", 1, 100),
        ("1 ≤ n ≤ 10^5", 1, 10**5),
        ("$1 \\le n \\leq 2 \\cdot 10^5$", 1, 2 * 10**5),
        ("0 < n < 10**9", 1, 10**9 - 1),
        ("-10^{9} <= n, m <= 10^{9}", -(10**9), 10**9),
        ("1 &lt;= n &lt; 1,000", 1, 999),
        ("2 * 10^3 <= `n` <= 10_000", 2000, 10_000),
    ],
)
def test_bounds_are_read_in_every_notation(text, low, high):
    assert bounds_in(f"It holds that {text}.").values["n"] == Range(low, high)


def test_bounds_of_lengths_of_items_and_of_all_numbers():
    bounds = bounds_in("1 <= s.length <= 5, 2 <= len(t) <= 6, 3 <= |u| <= 7, 0 <= nums[i] <= 9, 1 ≤ a_i ≤ 4, 1 <= k <= s.length")
    assert {name: (one.low, one.high) for name, one in bounds.lengths.items()} == {"s": (1, 5), "t": (2, 6), "u": (3, 7)}
    assert {name: (one.low, one.high) for name, one in bounds.items.items()} == {"nums": (0, 9), "a": (1, 4)}
    assert bounds.values["k"] == Range(1, None, "s")
    assert bounds_in("a list of non-negative integers").all_numbers == Range(low=0)
    assert bounds_in("a positive integer").all_numbers == Range(low=1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["1 <= ", "1 <= n <= 2, ", "n, ", "|", "1", "10^", "a_"])
def test_reading_bounds_takes_linear_time(piece):
    for size in (50_000, 1_000_000):
        bounds_in(piece * (size // len(piece)))
