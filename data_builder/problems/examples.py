"""Tests printed in a statement, and the lines that they stand in.

What is read may be incomplete; what is not clearly an example is left out, since a wrong test is worse than none. The forms are
known to five modules: calls (`call_forms`), values without a call (`labelled_forms`, `value_forms`, `table_forms`), and standard
input (`stdin_forms`). Reading takes time linear in the statement's length.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from .asked_for import UNNAMED, asked_name, known_interface
from .call_forms import CALL, call_forms
from .interface import Interface, same_name
from .labelled_forms import labelled_forms
from .problem import CallTest, Problem, StdinTest
from .result_text import Found
from .shown_text import ShownText
from .stdin_forms import classified, stdin_forms
from .table_forms import table_forms
from .value_forms import value_forms

MAX_STATEMENT = 50_000
"""Characters of the longest statement that is read."""
NAMED_VALUE = re.compile(r"\s*[A-Za-z_]\w*\s*=(?!=)")
"""How an input begins that gives a function's parameters: `nums = [2, 7]`."""
CLOSE = 0.85
"""How similar a name that is called must be to one that never is, to be that one misspelt (`difflib`'s ratio)."""


@dataclass(frozen=True)
class Example:
    """A test, and the first and last line of the statement, counted from 1, that it stands in."""

    test: CallTest | StdinTest
    lines: tuple[int, int]


def printed_examples(problem: Problem) -> tuple[Example, ...]:
    """The examples in a problem's statement, in order, each once: calls of its entry point, or input and output."""
    if problem.entry_point is None:
        return stdin_examples(problem.statement)
    return call_examples(problem.statement, problem.entry_point, problem.starter_code)[1]


def read_examples(statement: str, entry_point: str | None = None) -> tuple[str | None, tuple[Example, ...]]:
    """(entry point, examples) of a statement. Without `entry_point` it is the function asked for, or the one that is called.

    None, for a program that reads standard input, where the statement has headings for input and output and blocks below them,
    or neither asks for a function nor shows a call of one.
    """
    if entry_point is not None:
        return call_examples(statement, entry_point)
    blocks = stdin_examples(statement)
    headings = {line.kind for line in classified(statement) if not line.text}
    if {"input", "output"} <= headings and any(not NAMED_VALUE.match(_stdin(block)) for block in blocks):
        return None, blocks
    asked = asked_name(statement) if len(statement) <= MAX_STATEMENT else None
    name, calls = call_examples(statement)
    if asked and (asked != UNNAMED or not calls) and (examples := call_examples(statement, asked)[1]):
        return asked, examples
    return (name, calls) if calls else (asked, () if asked else blocks)


def _stdin(block: Example) -> str:
    assert isinstance(block.test, StdinTest)
    return block.test.stdin


def stdin_examples(statement: str) -> tuple[Example, ...]:
    """The Input / Output blocks of the examples."""
    if len(statement) > MAX_STATEMENT:
        return ()
    return tuple(Example(test, lines) for test, lines in stdin_forms(statement))


def call_examples(
    statement: str, entry_point: str | None = None, starter_code: str = ""
) -> tuple[str | None, tuple[Example, ...]]:
    """(function, its examples). The parameters are those of `starter_code`, or what the statement tells of them.

    Without `entry_point` the function with most examples is taken, the first of equals; None if there is no example.
    """
    if len(statement) > MAX_STATEMENT:
        return entry_point, ()
    shown = ShownText(statement)
    if entry_point is None:
        found = list(call_forms(shown.text, None, None))
        counts = Counter(name for name, _ in {(one.name, repr(one.args)): one for one in found})
        entry_point = max(counts, key=lambda name: counts[name], default=None)
        return entry_point, _as_examples(shown, (one for one in found if one.name == entry_point))
    interface = known_interface(statement, entry_point, starter_code)
    return entry_point, _as_examples(shown, _found(shown.text, entry_point, interface))


def _found(text: str, name: str, interface: Interface | None) -> list[Found]:
    calls = list(call_forms(text, name, interface))
    if interface is None:
        return calls
    if not calls:
        called = sorted({call[1] for call in CALL.finditer(text) if not same_name(call[1], name)})
        for misspelt in difflib.get_close_matches(name, called, 1, CLOSE):
            calls = [replace(found, name=name) for found in call_forms(text, misspelt, interface)]
    if not interface.parameters:
        return calls
    values = [*labelled_forms(text, interface), *value_forms(text, interface), *table_forms(text, interface)]
    return sorted([*calls, *values], key=lambda found: found.start)


def _as_examples(shown: ShownText, found: Iterable[Found]) -> tuple[Example, ...]:
    """Each arguments once. Of examples that contradict each other the more certain one, none if they are equally certain."""
    by_arguments: dict[str, list[Found]] = {}
    for one in found:
        by_arguments.setdefault(repr(one.args), []).append(one)
    kept = []
    for same in by_arguments.values():
        certainty = max(one.certainty for one in same)
        certain = [one for one in same if one.certainty == certainty]
        if all(is_same(one.expected, certain[0].expected) for one in certain):
            kept.append(certain[0])
    return tuple(Example(CallTest(one.args, one.expected), shown.lines(one.start, one.end)) for one in kept)


def is_same(one: Any, other: Any) -> bool:
    """Whether two results are one, in the notation of different languages: `[1, True]`, `(1, true)`, `{1, true}`."""
    if not (isinstance(one, list | tuple | set) and isinstance(other, list | tuple | set)):
        return bool(one == other)
    if isinstance(one, set) or isinstance(other, set):
        return len(one) == len(other) and all(item in other for item in one)
    return len(one) == len(other) and all(map(is_same, one, other))
