"""Inputs without outputs, made from the examples by small changes that keep their types: other numbers, lengths and orders.

Programs that are right agree on them, and what many programs give is likelier right. They are worth that only if they are inputs
that the statement allows: bounds that it sets are respected, and so is what all examples show (rows of one length, an argument
that is the length of another, a sorted list). Where nothing is known of the types, none are made.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import Any

from .asked_for import known_interface
from .bounds import Bounds, Range, bounds_in
from .interface import Interface, plain
from .made_texts import made_texts
from .problem import CallTest, Problem, StdinTest

MAX_ITEMS = 60  # of a list that is made
MAX_CHARACTERS = 200
MAX_TRIES = 40  # changes of one example that are looked at


def made_inputs(
    problem: Problem, examples: Sequence[CallTest | StdinTest], most: int = 16, seed: int = 0
) -> tuple[tuple[Any, ...] | str, ...]:
    """At most `most` inputs that no example has: arguments of calls, or texts for standard input. The same for the same `seed`.

    Without examples they are made from the type hints of the starter code, where these name every parameter's type.
    """
    draw = random.Random(seed)
    bounds = bounds_in(problem.statement)
    if problem.entry_point is None:
        return made_texts([test.stdin for test in examples if isinstance(test, StdinTest)], bounds, most, draw)
    interface = known_interface(problem.statement, problem.entry_point, problem.starter_code)
    shown = [test.args for test in examples if isinstance(test, CallTest)]
    starts = shown or list(_from_hints(interface))
    changes = _Changes(starts, interface, bounds, draw)
    known = {repr(args) for args in shown}
    made: dict[str, tuple[Any, ...]] = {}
    for args in _in_turns([changes.of(args) for args in starts]):
        if len(made) == most:
            break
        if repr(args) not in known and changes.allowed(args):
            made.setdefault(repr(args), args)
    return tuple(made.values())


def _in_turns(sources: Sequence[Iterator[Any]]) -> Iterator[Any]:
    """One of each, then the next of each."""
    for several in zip_longest(*sources):
        yield from (one for one in several if one is not None)


def _from_hints(interface: Interface | None) -> Iterator[tuple[Any, ...]]:
    if interface is None or not interface.parameters:
        return
    values = [_of_type(parameter.hint) for parameter in interface.parameters]
    if all(value is not None for value in values):
        yield tuple(values)


def _of_type(hint: ast.expr | None) -> Any:
    """A value of an annotated type: `int`, `List[int]`, ...; None where it is not known."""
    name = ast.unparse(hint) if hint is not None else ""
    simple: dict[str, Any] = {"int": 3, "float": 2.5, "str": "abca", "bool": True}
    if name in simple:
        return simple[name]
    if isinstance(hint, ast.Subscript) and name.partition("[")[0].rpartition(".")[2] in ("List", "list"):
        item = _of_type(hint.slice)
        return None if item is None else [item, *_other_items(item), item]
    return None


def _other_items(item: Any) -> list[Any]:
    return [item - 1, item + 2] if type(item) in (int, float) else [item[:2]] if isinstance(item, str | list) else [not item]


class _Changes:
    """Changed arguments, and whether they keep what all examples show and the statement's bounds allow."""

    def __init__(
        self, shown: Sequence[tuple[Any, ...]], interface: Interface | None, bounds: Bounds, draw: random.Random
    ) -> None:
        self._bounds, self._draw, self._shown = bounds, draw, shown
        self._names = [plain(parameter.name) for parameter in interface.parameters] if interface else []
        self._interface = interface
        count = min((len(args) for args in shown), default=0)
        self._rectangular = {i for i in range(count) if all(_is_rectangular(args[i]) for args in shown)}
        self._sorted = {i for i in range(count) if _all_long(shown, i) and all(_is_sorted(args[i]) for args in shown)}
        self._distinct = {i for i in range(count) if _all_long(shown, i) and all(_is_distinct(args[i]) for args in shown)}
        sized = [(i, j) for i in range(count) for j in range(count) if i != j]
        self._lengths = [(i, j) for i, j in sized if all(_is_length(args[i], args[j]) for args in shown)]
        self._equal = [(i, j) for i, j in sized if i < j and all(_have_one_length(args[i], args[j]) for args in shown)]
        self._alphabet = sorted({character for args in shown for text in _texts(args) for character in text})
        self._negative = any(number < 0 for args in shown for number in _numbers(args))

    def of(self, args: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """`args` with one of them changed, in an order that is drawn, and what must change with it."""
        changed = []
        for i, value in enumerate(args):
            for other in self._values(value, self._range(i), 0):
                if i in self._sorted and isinstance(other, list):
                    other = sorted(other)
                changed.append((*args[:i], other, *args[i + 1 :]))
        self._draw.shuffle(changed)
        for one in changed[:MAX_TRIES]:
            yield self._with_lengths(one)

    def allowed(self, args: tuple[Any, ...]) -> bool:
        """Whether the arguments are within all bounds and have what all examples have."""
        if self._interface is not None and self._interface.bound(args) is None:
            return False
        return (
            all(self._in_bounds(i, args) for i in range(len(args)))
            and all(_is_rectangular(args[i]) for i in self._rectangular)
            and all(_is_sorted(args[i]) for i in self._sorted)
            and all(_is_distinct(args[i]) for i in self._distinct)
            and all(_is_length(args[i], args[j]) for i, j in self._lengths)
            and all(_have_one_length(args[i], args[j]) for i, j in self._equal)
        )

    def _with_lengths(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        changed = list(args)
        for i, j in self._lengths:
            changed[i] = len(args[j])
        return tuple(changed)

    def _range(self, index: int) -> Range:
        name = self._names[index] if index < len(self._names) else ""
        return self._bounds.values.get(name, self._bounds.all_numbers)

    def _in_bounds(self, index: int, args: tuple[Any, ...]) -> bool:
        value, name = args[index], self._names[index] if index < len(self._names) else ""
        if isinstance(value, int | float):
            bound = self._range(index)
            sized = args[self._names.index(bound.length_of)] if bound.length_of in self._names else None
            return bound.holds(value) and (not isinstance(sized, str | list | tuple) or value <= len(sized))
        items = self._bounds.items.get(name, self._bounds.all_numbers)
        length = self._bounds.lengths.get(name, Range())
        return (not isinstance(value, str | list | tuple) or length.holds(len(value))) and all(map(items.holds, _numbers(value)))

    def _values(self, value: Any, bound: Range, depth: int) -> list[Any]:
        """Other values of the same type."""
        if isinstance(value, bool) or value is None or depth > 3:
            return [not value] if isinstance(value, bool) else []
        if isinstance(value, int | float):
            return self._other_numbers(value, bound)
        if isinstance(value, str):
            return self._other_texts(value)
        if isinstance(value, list):
            return self._other_lists(value, bound, depth)
        if isinstance(value, tuple):
            return [
                (*value[:i], one, *value[i + 1 :]) for i, item in enumerate(value) for one in self._values(item, bound, depth + 1)
            ]
        if isinstance(value, dict):
            return [value | {key: one} for key, item in value.items() for one in self._values(item, bound, depth + 1)[:2]]
        return [value - {item} for item in sorted(value, key=repr)] if isinstance(value, set) else []

    def _other_numbers(self, value: int | float, bound: Range) -> list[Any]:
        kind = type(value)
        steps = [value + 1, value - 1, 0, 1, 2, value * 2, value * 3 + 1, value * 10, self._draw.randint(0, 20), -value, -1]
        ends = [bound.low, bound.high if bound.high is not None and bound.high <= 10**6 else None]
        least = bound.low if bound.low is not None else None if self._negative else 0
        return [kind(one) for one in [*steps, *ends] if one is not None and (least is None or one >= least)]

    def _other_texts(self, text: str) -> list[str]:
        letters = self._alphabet or ["a"]
        drawn = "".join(self._draw.choices(letters, k=min(max(len(text), 1), MAX_CHARACTERS)))
        made = ["", text[:-1], text[1:], text[::-1], text * 2, text[:1] * len(text), letters[0], drawn, text + drawn[:1]]
        return [one for one in made if len(one) <= MAX_CHARACTERS]

    def _other_lists(self, items: list[Any], bound: Range, depth: int) -> list[Any]:
        shuffled = self._draw.sample(items, len(items))
        made = [[], items[:1], items[:-1], items[1:], items[::-1], shuffled, items * 2, items[:1] * len(items), items + items[:1]]
        for index in self._draw.sample(range(len(items)), min(len(items), 4)):
            made += [[*items[:index], one, *items[index + 1 :]] for one in self._values(items[index], bound, depth + 1)[:6]]
        if items and all(isinstance(row, list) for row in items) and _is_rectangular(items):
            made.append([row[:-1] for row in items])
        return [one for one in made if len(one) <= MAX_ITEMS]


def _all_long(shown: Sequence[tuple[Any, ...]], index: int) -> bool:
    """Whether several examples show a list there that is long enough to tell an order by."""
    return len(shown) > 1 and all(isinstance(args[index], list) and len(args[index]) > 2 for args in shown)


def _is_rectangular(value: Any) -> bool:
    rows = value if isinstance(value, list) else []
    return bool(rows) and all(isinstance(row, list) for row in rows) and len({len(row) for row in rows}) == 1


def _is_sorted(value: Any) -> bool:
    try:
        return isinstance(value, list) and all(one <= other for one, other in pairwise(value))
    except TypeError:
        return False


def _is_distinct(value: Any) -> bool:
    return isinstance(value, list) and len(set(map(repr, value))) == len(value)


def _is_length(number: Any, value: Any) -> bool:
    return type(number) is int and isinstance(value, str | list) and number == len(value)


def _have_one_length(one: Any, other: Any) -> bool:
    return isinstance(one, list) and isinstance(other, list) and len(one) == len(other)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)


def _numbers(value: Any) -> Iterator[int | float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))
