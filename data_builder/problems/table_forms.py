"""Examples in rows: tables whose heads name parameters and result, and lines of `foo1 -> foo2`.

| grams | parcel | result |        | input | expected |
|-------|--------|--------|        | cat   | cats     |
| 20    | False  | 85     |        | mouse | mice     |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .interface import Interface, plain, same_name
from .labelled_forms import OUTPUT_WORDS
from .literals import read_literal
from .result_text import END_OF_LINE, Found
from .value_forms import ARROW, read_values

MAX_LINE = 2000
CELLS = re.compile(r"[ \t]*\|[ \t]*|[ \t]*\t[ \t]*|[ \t]{2,}")
RULE = re.compile(r"[\s|:+=-]*")
RESULT_HEAD = re.compile(rf"{OUTPUT_WORDS}|[A-Za-z_]\w*\([\w, ]*\)", re.IGNORECASE)
INPUT_HEAD = re.compile(r"(?:input|argument|parameter|value|number|string|array|list)s?\b.*", re.IGNORECASE)
# Columns that say something of an example and are no part of it, and one of what a faulty program gives.
ASIDE = re.compile(
    r"|\#|n[or]\.?|(?:test[ ]|use[ ])?case|tests?|examples?|name|description|comments?|notes?|remarks?|why|reason|explanation",
    re.IGNORECASE,
)
FAULTY = re.compile(r"actual|current|wrong|now\b|got\b", re.IGNORECASE)
# Text without quotes, and what stands in its place for something else.
WORD = re.compile(r"\w[\w:./@+-]*")
NO_TEXT = re.compile(
    r"any|all|every|others?|otherwise|else|n/a|varies|errors?|exception|\w+Error|unchanged|same|empty", re.IGNORECASE
)

UNQUOTED_ROW = re.compile(r"^[ \t]*(\w[\w:./-]+)[ \t]*(?:-+>|=+>|→)[ \t]*(\w[\w:./-]+)[ \t]*$", re.MULTILINE)
ROW = re.compile(r"^[ \t]*(?:[-*+•][ \t]+)?(?=[\[({\"'“\d.tTfFnN-])", re.MULTILINE)


@dataclass(frozen=True)
class Head:
    """Of a table with `width` columns those of the arguments, in the order of the parameters, and that of the result."""

    width: int
    arguments: tuple[int, ...]
    result: int


def table_forms(text: str, interface: Interface) -> Iterator[Found]:
    """All examples in `text` that stand in rows."""
    head: Head | None = None
    rows: list[tuple[int, str, list[str]]] = []
    at = 0
    for line in text.split("\n"):
        if not RULE.fullmatch(line):
            cells = [cell.strip() for cell in CELLS.split(line.strip().strip("|").strip())] if len(line) <= MAX_LINE else []
            new_head = _head(cells, interface)
            if head and new_head is None and len(cells) == head.width:
                rows.append((at, line, cells))
            else:
                yield from _examples(head, rows, interface)
                head, rows = new_head, []
        at += len(line) + 1
    yield from _examples(head, rows, interface)
    yield from _unquoted_rows(text, interface)


def arrow_rows(text: str) -> Iterator[int]:
    """The number of values in each line that holds values without names, an arrow and a literal."""
    for row in ROW.finditer(text):
        given = read_values(text, row.end())
        arrow = ARROW.match(text, given.end) if given.values and not any(given.names) else None
        result = read_literal(text, arrow.end(), "list") if arrow else None
        if result and END_OF_LINE.match(text, result[1]):
            yield len(given.values)


def _head(cells: Sequence[str], interface: Interface) -> Head | None:
    """What a line of heads says: of all parameters, or "input", and of "result", `f(n)` or the like. None where it is none."""
    columns = {plain(cell): index for index, cell in enumerate(cells)}
    named = [columns[plain(one.name)] for one in interface.parameters if plain(one.name) in columns]
    others = [index for index, cell in enumerate(cells) if index not in named and not ASIDE.fullmatch(cell)]
    results = [index for index in others if RESULT_HEAD.fullmatch(cells[index]) or same_name(cells[index], interface.name)]
    results = [index for index in results if not FAULTY.search(cells[index])] if len(results) > 1 else results
    all_named = len(named) == len(interface.parameters)
    if not results and all_named and others == [len(cells) - 1]:
        last = plain(cells[-1])
        results = others if len(named) > 1 or (len(last) > 2 and plain(interface.name).endswith(last)) else []
    if len(results) != 1 or len(cells) < 2:
        return None
    if all_named:
        return Head(len(cells), tuple(named), results[0])
    given = [index for index in range(len(cells)) if index in named or (index in others and index not in results)]
    is_input = all(index in named or INPUT_HEAD.fullmatch(cells[index]) for index in given)
    return Head(len(cells), tuple(given), results[0]) if given and is_input else None


def _examples(head: Head | None, rows: Sequence[tuple[int, str, list[str]]], interface: Interface) -> Iterator[Found]:
    """Each row of literals; text without quotes only in a column that holds nothing else."""
    if head is None:
        return
    texts = {index for index in range(head.width) if all(_is_text(cells[index]) for _, _, cells in rows)}
    for at, line, cells in rows:
        args = _arguments(cells, head, texts, interface)
        result = _cell(cells[head.result], head.result in texts)
        if args is not None and result and interface.gives(result[0]):
            yield Found(interface.name, args, result[0], at, at + len(line), 1)


def _arguments(cells: Sequence[str], head: Head, texts: set[int], interface: Interface) -> tuple[Any, ...] | None:
    """A row's arguments, each in a cell of its own or all in one: `[4, 5], 9`, `nums = [4, 5], k = 9`."""
    given = [_cell(cells[index], index in texts) for index in head.arguments]
    if all(given):
        return interface.bound([value[0] for value in given if value])
    whole = cells[head.arguments[0]]
    values = read_values(whole, 0)
    return values.arguments(interface) if len(given) == 1 and values.values and values.end == len(whole) else None


def _cell(cell: str, is_text: bool) -> tuple[Any] | None:
    """The value of a cell that is all of it."""
    if is_text:
        return (cell,)
    found = read_literal(cell, 0, "list")
    return (found[0],) if found and found[1] == len(cell) else None


def _is_text(cell: str) -> bool:
    return WORD.fullmatch(cell) is not None and not NO_TEXT.fullmatch(cell) and _cell(cell, False) is None


def _unquoted_rows(text: str, interface: Interface) -> Iterator[Found]:
    """`foo1 -> foo2`, `05:25 --> 06:35`: text without quotes, at least two rows of it, for a function of one text."""
    if len(interface.parameters) != 1 or interface.bound([""]) is None:
        return
    rows = [row for row in UNQUOTED_ROW.finditer(text) if _cell(row[1], False) is None]
    for row in rows if len(rows) > 1 else []:
        expected = _cell(row[2], False) or (row[2],)
        if interface.gives(expected[0]):
            yield Found(interface.name, (row[1],), expected[0], row.start(), row.end(), 1)
