"""Examples whose parts have labels: `Input: n = 2` and `Output: 4`, on one line or several, and tables with such heads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .interface import Interface, plain
from .literals import read_literal
from .result_text import END_OF_LINE, Found, read_result
from .value_forms import NEW_LINES, Values, read_values

KINDS = r"(?:[ \t]+(?:array|list|string|number|integer|value|data|matrix|word|text|is|are|should be))*"
# A number is the example's where a colon follows, or something other than the output's label in the next line.
NUMBER = r"(?:\#?\d+(?=[ \t]*:|[ \t]*\n\s*(?!out|result|return|expected|answer)\S))?"
AFTER_LABEL = rf"[ \t]*{NUMBER}[ \t*_\]]*(?::|=(?!=)|//+|-+>|[–—-](?!\d))?[ \t]*"
BEFORE_LABEL = (
    r"^[^\w\n\"'\[({]{0,8}(?:(?:e\.g\.?|for example|(?:example|sample|test)s?(?:[ \t]+case)?)[ \t]*\d*[ \t]*[:.,-]?[ \t]*)?\[?"
)
INPUT = re.compile(
    rf"{BEFORE_LABEL}(?:an? |the |your )?\b(?:input|argument|parameter)s?\b{KINDS}{AFTER_LABEL}", re.MULTILINE | re.IGNORECASE
)
OUTPUT_WORD = r"\b(?:output|ou\w{1,3}ut|result|returns?|return value|expected|answer)s?\b"
OUTPUT_WORDS = f"(?:the |your |expected |correct |actual )*{OUTPUT_WORD}{KINDS}"
OUTPUT = re.compile(OUTPUT_WORDS + AFTER_LABEL, re.IGNORECASE)
OUTPUT_LINE = re.compile(f"{BEFORE_LABEL}{OUTPUT_WORDS}{AFTER_LABEL}", re.MULTILINE | re.IGNORECASE)
TO_OUTPUT = re.compile(r"[ \t]*(?:[,;|.]|[-=]+>|→|\band\b)?[ \t]*", re.IGNORECASE)
MAX_LINES_BETWEEN = 6
MAX_LINE = 2000

CELLS = re.compile(r"[ \t]*\|[ \t]*|[ \t]*\t[ \t]*|[ \t]{2,}")
RULE = re.compile(r"[\s|:+=-]*")
UNQUOTED_ROW = re.compile(r"^[ \t]*(\w[\w:./-]+)[ \t]*(?:-+>|=+>|→)[ \t]*(\w[\w:./-]+)[ \t]*$", re.MULTILINE)
RESULT_HEAD = re.compile(rf"{OUTPUT_WORDS}|[A-Za-z_]\w*\([\w, ]*\)", re.IGNORECASE)
INPUT_HEAD = re.compile(r"(?:input|argument|parameter|value|number|string|array|list)s?\b.*", re.IGNORECASE)


def labelled_forms(text: str, interface: Interface) -> Iterator[Found]:
    """All examples in `text` that label the values for the parameters of `interface` and the result."""
    for label in INPUT.finditer(text):
        given = read_values(text, label.end())
        output = _output_label(text, given.end) if given.values else None
        found = _pair(text, label, given, output, interface) if output else _unquoted(text, label, interface)
        if found:
            yield found
    yield from _table_rows(text, interface)
    yield from _unquoted_rows(text, interface)


def _output_label(text: str, end: int) -> re.Match[str] | None:
    """The label of the output after an input that ends at `end`: on the same line, or at the beginning of one soon below."""
    between = TO_OUTPUT.match(text, end)
    if between and (here := OUTPUT.match(text, between.end())):
        return here
    line = text.find("\n", end) + 1
    if not END_OF_LINE.match(text, end):
        return None
    for _ in range(MAX_LINES_BETWEEN):
        if not line or INPUT.match(text, line):
            return None
        if found := OUTPUT_LINE.match(text, line):
            return found
        line = text.find("\n", line) + 1
    return None


def _pair(text: str, label: re.Match[str], given: Values, output: re.Match[str], interface: Interface) -> Found | None:
    lines = NEW_LINES.match(text, output.end())
    at = lines.end() if lines else output.end()
    args = given.arguments(interface)
    result = read_result(text, at, interface, "list") or read_result(text, at, interface)
    if args is not None:
        return Found(interface.name, args, result[0], label.start(), result[1], 2) if result else None
    if len(interface.parameters) == 1 and len(given.values) > 1 and not any(given.names):
        return _bare_lists(text, label.start(), given.values, at, interface)
    return None


def _bare_lists(text: str, start: int, given: list[Any], at: int, interface: Interface) -> Found | None:
    """`Input: 1, 2, 3` / `Output: 3, 2, 1` for lists without brackets."""
    args, wanted = interface.bound([given]), read_values(text, at)
    if args is None or len(wanted.values) < 2 or not interface.gives(wanted.values) or not END_OF_LINE.match(text, wanted.end):
        return None
    return Found(interface.name, args, wanted.values, start, wanted.end, 2)


def _unquoted(text: str, label: re.Match[str], interface: Interface) -> Found | None:
    """`Input: hello` / `Output: olleh` without quotes: only where the hints say that both are text, and nothing else."""
    takes_text = len(interface.parameters) == 1 and interface.bound([""]) is not None and interface.bound([0]) is None
    if not takes_text or not interface.gives("") or interface.gives(0):
        return None
    end = text.find("\n", label.end())
    output = OUTPUT_LINE.match(text, end + 1)
    if end < 0 or output is None:
        return None
    last = text.find("\n", output.end())
    last = last if last >= 0 else len(text)
    given, wanted = text[label.end() : end].strip(), text[output.end() : last].strip()
    if not given or not wanted or max(len(given), len(wanted)) > MAX_LINE or {given[0], wanted[0]} & set("\"'“`[({"):
        return None
    return Found(interface.name, (given,), wanted, label.start(), last, 2)


def _table_rows(text: str, interface: Interface) -> Iterator[Found]:
    """Rows of literals below a line of heads that are parameters or "input", the last of them "output" or `f(n)`."""
    heads: list[str] = []
    at = 0
    for line in text.split("\n"):
        cells = [cell.strip() for cell in CELLS.split(line.strip().strip("|").strip())] if len(line) <= MAX_LINE else []
        values = [read_literal(cell, 0, "list") for cell in cells]
        if len(cells) > 1 and len(cells) == len(heads) and all(map(_is_literal, cells)):
            *given, (expected, _) = [value for value in values if value]
            args = interface.bound([value for value, _ in given])
            if args is not None and interface.gives(expected):
                yield Found(interface.name, args, expected, at, at + len(line), 1)
        elif not RULE.fullmatch(line):
            heads = cells if _is_head(cells, interface) else []
        at += len(line) + 1


def _unquoted_rows(text: str, interface: Interface) -> Iterator[Found]:
    """`foo1 -> foo2`, `05:25 --> 06:35`: text without quotes, at least two rows of it, for a function of one text."""
    if len(interface.parameters) != 1 or interface.bound([""]) is None:
        return
    rows = [row for row in UNQUOTED_ROW.finditer(text) if not _is_literal(row[1])]
    for row in rows if len(rows) > 1 else []:
        expected = read_literal(row[2], 0) if _is_literal(row[2]) else (row[2], 0)
        if expected and interface.gives(expected[0]):
            yield Found(interface.name, (row[1],), expected[0], row.start(), row.end(), 1)


def _is_literal(text: str) -> bool:
    found = read_literal(text, 0)
    return found is not None and found[1] == len(text)


def _is_head(cells: list[str], interface: Interface) -> bool:
    names = {plain(parameter.name) for parameter in interface.parameters}
    if len(cells) < 2 or not RESULT_HEAD.fullmatch(cells[-1]):
        return False
    return all(plain(cell) in names or INPUT_HEAD.fullmatch(cell) for cell in cells[:-1])
